"""`fit --tune N`: a search for the options of training, by what validation maximises.

    default options → N trials, each chosen by those before it (TPE: Bergstra et al. 2011) → the best one's model

The first trial is the default, so that the result never validates worse than that. A trial that at half or three
quarters of its length is below the median of the others at that point ends there. Searched are the options that were
not given: learning rate, epochs, batch size, layer decay, weight decay, dropout, and balance where classes are uneven.

    OUT/checkpoints/trial-001/   settings.json (before it trains)   done.json, or ended.json   weights.safetensors

Only the best trial's weights are kept. An interrupted search takes the trials that are done from their folders.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filbert.config import TrainConfig, budget
from filbert.errors import TrainingError
from filbert.files import read_sealed, write_sealed
from filbert.finetuning.prepare import Run
from filbert.finetuning.train import TRIED, even, score_of, train
from filbert.finetuning.trainings import WEIGHTS, Training, keep, recalled
from filbert.progress import Watcher
from filbert.tasks.task import Json
from filbert.training.checkpoints import ANEW, refuse_changes
from filbert.training.job import Trained
from filbert.training.log import LOG
from filbert.training.plan import default_epochs

if TYPE_CHECKING:
    import optuna

SETTINGS, ENDED = "settings.json", "ended.json"
RANGE = 4.0  # times the default learning rate, up and down
BATCHES = (8, 16, 32, 64)
RANDOM = 5  # trials after the default that are drawn without looking at others
FEWEST_ENDED = 4  # whole trials before one may be ended early
FEWEST_RATED = 8  # whole trials before it is said which options mattered


class Ended(Exception):
    """A trial is given up: it is behind the others, or the time is over."""


@dataclass(frozen=True)
class Trial:
    """What one trial did; `training` is None where it was given up."""

    number: int
    settings: Json
    score: tuple[float, ...]
    figures: Json
    seconds: float
    quarters: Json
    """The best score so far at each quarter of the trial."""
    training: Training | None = None


@dataclass
class Search:
    """The trials so far, and optuna's view of them."""

    run: Run
    folder: Path
    space: dict[str, Any]
    default: Json
    watch: Watcher
    trials: list[Trial] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """What all trials took, those of before an interruption included."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def best(self) -> Trial:
        """The trial with the best score of those that ran to their end."""
        return max((trial for trial in self.trials if trial.training), key=lambda trial: trial.score)

    def study(self) -> optuna.Study:
        """Return optuna's study of these trials: the same suggestion for the same trials."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = (self.run.config.seed * 1_000 + len(self.trials)) % 2**32
        study = optuna.create_study(
            direction="maximize",
            sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM + 1),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=FEWEST_ENDED, n_warmup_steps=2),
        )
        states = optuna.trial.TrialState
        for trial in self.trials:
            study.add_trial(
                optuna.trial.create_trial(
                    state=states.COMPLETE if trial.training else states.PRUNED,
                    params=trial.settings,
                    distributions=self.space,
                    value=trial.score[0] if trial.training else None,
                    intermediate_values={int(quarter): value for quarter, value in trial.quarters.items()},
                )
            )
        return study


def best_trial(run: Run, out: Path, given: int | str, watch: Watcher) -> tuple[Training, Json]:
    """Search for the options of a run → the best trial's training, and the table of all for the report.

    `run` then has the options of that trial. Raises as `train` does.
    """
    trials, minutes = budget(given)
    default = _default(run)
    search = Search(run, out / "checkpoints", _space(run, default), default, watch)
    while _another(search, trials, minutes):
        _show(search, _trial(search, minutes))
    best = search.best
    assert best.training is not None
    _use(run, best.settings)
    shutil.copyfile(best.training.folder / LOG, out / LOG)
    return best.training, {**_facts(search), "budget": str(given)}


def _another(search: Search, trials: int | None, minutes: float | None) -> bool:
    """Say whether there is budget for one more trial; the first is always made."""
    done = len(search.trials)
    if trials is not None:
        return done < trials
    assert minutes is not None
    whole = [trial.seconds for trial in search.trials if trial.training]
    return not whole or search.seconds + min(whole) / 2 < 60 * minutes


def _default(run: Run) -> Json:
    """Return the options that are searched, those that nobody gave, with what they are without a search."""
    config, plain = run.config, TrainConfig()
    texts, outputs = len(run.lengths), run.data.task.head(run.data.settings).outputs
    found: Json = {}
    if config.learning_rate is None:
        found["learning_rate"] = run.rate
    if config.epochs is None:
        found["epochs"] = round(default_epochs(texts, outputs))
    if config.batch_size == plain.batch_size:
        found["batch_size"] = config.batch_size
    if config.layer_decay == plain.layer_decay:
        found["layer_decay"] = config.layer_decay
    if config.weight_decay == plain.weight_decay:
        found["weight_decay"] = config.weight_decay
    if config.dropout is None:
        found["dropout"] = run.encoder_config.dropout
    if config.balance in ("none", "auto") and not run.data.task.BALANCE and not even(run):
        found["balance"] = "none"
    return found


def _space(run: Run, default: Json) -> dict[str, Any]:
    """Return optuna's distribution of each option that is searched; each holds the default."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, Callable[[Any], Any]] = {
        "learning_rate": lambda rate: FloatDistribution(rate / RANGE, rate * RANGE, log=True),
        "epochs": lambda epochs: IntDistribution(max(1, epochs // 2), max(2, 2 * epochs)),
        "batch_size": lambda _: CategoricalDistribution(BATCHES),
        "layer_decay": lambda _: FloatDistribution(0.8, 1.0),
        "weight_decay": lambda _: FloatDistribution(0.001, 0.1, log=True),
        "dropout": lambda share: FloatDistribution(0.0, max(0.3, share)),
        "balance": lambda _: CategoricalDistribution(TRIED),
    }
    return {name: made[name](value) for name, value in default.items()}


def _trial(search: Search, minutes: float | None) -> Trial:
    """Make the next trial, or read what an interrupted search found in it."""
    number = len(search.trials) + 1
    folder = search.folder / f"trial-{number:03}"
    folder.mkdir(parents=True, exist_ok=True)
    study = search.study()
    study.enqueue_trial(_settings(search, folder, number))
    asked = study.ask(search.space)
    one = replace(search.run)
    _use(one, asked.params)
    one.identity = {**one.identity, "trial": number, **asdict(one.config)}
    said = ", ".join(f"{name.replace('_', ' ')} {_short(value)}" for name, value in asked.params.items())
    search.watch.say(f"trial {number}: {said}")
    known = _known(folder, one.identity, number)
    if known is None:
        left = math.inf if minutes is None or number == 1 else 60 * minutes - search.seconds
        known = _made(search, one, folder, asked, left)
    search.trials.append(known)
    for each in search.trials:
        if each.training and each is not search.best:
            (each.training.folder / WEIGHTS).unlink(missing_ok=True)
    return known


def _settings(search: Search, folder: Path, number: int) -> Json:
    """Return the options of a trial: those it began with, the default for the first, else what optuna suggests."""
    if (folder / SETTINGS).is_file():
        saved = read_sealed(folder / SETTINGS, ANEW)
        refuse_changes(saved["identity"], search.run.identity, folder.parent)
        return dict(saved["settings"])
    settings = dict(search.default if number == 1 else search.study().ask(search.space).params)
    write_sealed(folder / SETTINGS, {"identity": search.run.identity, "settings": settings})
    return settings


def _use(run: Run, settings: Json) -> None:
    """Give a run the options of a trial."""
    run.config = replace(run.config, **settings)
    run.rate = run.config.learning_rate or run.rate


def _known(folder: Path, identity: Json, number: int) -> Trial | None:
    """Return the trial that a folder keeps, None where it is not finished."""
    if (folder / ENDED).is_file():
        saved = read_sealed(folder / ENDED, ANEW)
        refuse_changes(saved.pop("identity"), identity, folder.parent)
        return Trial(number, **{**saved, "score": tuple(saved["score"])})
    training = recalled(folder, identity)
    if training is None:
        return None
    settings, trained = training.facts["settings"], training.trained
    told = _score(trained, settings), trained.best_figures, trained.seconds
    return Trial(number, settings, *told, training.facts["quarters"], training)


def _made(search: Search, one: Run, folder: Path, asked: optuna.Trial, left: float) -> Trial:
    """Train with the options of a trial, to its end or until it is given up; `left` are the seconds of the budget."""
    quarters: Json = {}
    last = Trained()

    def after(progress: float, result: Trained) -> None:
        nonlocal last
        last = result
        value, quarter = _score(result, asked.params)[0], int(4 * progress)
        if 0 < quarter < 4:
            quarters[str(quarter)] = value
            asked.report(value, quarter)
        if progress < 1 and (asked.should_prune() or result.seconds > left):
            raise Ended

    number = len(search.trials) + 1
    try:
        result = train(one, one.network(), folder, track=(), watch=search.watch, after=after)
    except (Ended, TrainingError) as error:
        if isinstance(error, TrainingError):
            if number == 1:
                raise
            search.watch.say(f"trial {number} failed: {error}")
        score = _score(last, asked.params) if last.best_score else ()
        told: Json = {"settings": asked.params, "score": score, "figures": last.best_figures}
        told |= {"seconds": last.seconds, "quarters": quarters}
        write_sealed(folder / ENDED, {"identity": one.identity, **told})
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return Trial(number, **told)
    weights, done = result.job.model.state_dict(), (result.trained, result.plan)
    facts = {"settings": asked.params, "quarters": quarters, "balance": result.balance, "seed": one.config.seed}
    keep(folder, one.identity, done, weights, **facts)
    found = _known(folder, one.identity, number)
    assert found is not None
    return found


def _score(trained: Trained, settings: Json) -> tuple[float, ...]:
    """Return what trials are compared by: what validation maximises; where balance is searched, macro-F1 before it."""
    return score_of(trained) if "balance" in settings else trained.best_score


def _show(search: Search, trial: Trial) -> None:
    by, value = next(iter(trial.figures.items()), ("no score", math.nan))
    ended = "" if trial.training else ", given up early"
    best = " — the best so far" if trial is search.best else ""
    search.watch.say(f"trial {trial.number}: {by.replace('_', ' ')} {value:.4f}{ended}{best}")


def _facts(search: Search) -> Json:
    rows = [
        {
            "settings": trial.settings,
            "figures": trial.figures,
            "seconds": round(trial.seconds, 1),
            "whole": trial.training is not None,
        }
        for trial in search.trials
    ]
    return {"trials": rows, "best": search.best.number, "seconds": round(search.seconds, 1), "mattered": _rated(search)}


def _rated(search: Search) -> Json | None:
    """Return how much of the variance of the scores each option explains (fANOVA: Hutter et al. 2014)."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    whole = [trial for trial in search.trials if trial.training]
    if len(whole) < FEWEST_RATED or len({trial.score[0] for trial in whole}) < 2:
        return None
    found = get_param_importances(search.study(), evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: round(float(share), 3) for name, share in found.items()}


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
