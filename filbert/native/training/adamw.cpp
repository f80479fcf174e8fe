// One step of AdamW (Loshchilov & Hutter 2019) for all weights of a model in one pass through memory. Called by
// `filbert/training/adamw.py`.
//
//   gradient (fp32, or the model's bf16) → moments → weight in fp32 → the model's copy in its own precision
//
// A step is bound by memory bandwidth, and with short texts takes as long as forward and backward pass. Here 28 bytes are
// moved per weight of a bf16 model; torch's fused step, with copies and scaled gradients, moves 60. For an embedding table
// of which only some rows are ever used, `rows` names them, and the others are not touched.
//
// A C interface, no Python and no torch inside; any processor, any compiler.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../shared/pool.h"

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define WIDE __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define WIDE
#endif

extern "C" {

// A weight tensor and its state, with the fields of `Weight` in adamw.py. With `rows` null all rows are updated.
struct Weight {
  const void* grad;
  float* weight;
  float* mean;    // first moment
  float* square;  // second moment
  void* copy;
  const int32_t* rows;
  int64_t count;  // values, or rows if `rows` is given
  int64_t width;  // values in a row, 1 without `rows`
  int32_t grad_bf16, copy_bf16;
  float rate, decay;            // decay is already multiplied by the rate
  float correction1, correction2;  // 1 - beta^step
};
}

namespace {

using bf16 = uint16_t;

constexpr int64_t CHUNK = 32768;  // values of a task: their six arrays fit the L2 cache

inline float widened(float x) { return x; }

inline float widened(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float y;
  std::memcpy(&y, &bits, sizeof y);
  return y;
}

inline void narrowed(float x, float& y) { y = x; }

// Round to the nearest bf16, ties to even.
inline void narrowed(float x, bf16& y) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  y = static_cast<bf16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Sum in 16 lanes, each in order, so that the result does not depend on threads or processor.
template <class Gradient>
inline __attribute__((always_inline)) double squares(const Gradient* grad, int64_t n) {
  float lanes[16] = {};
  const int64_t whole = n / 16 * 16;
  for (int64_t i = 0; i < whole; i += 16)
    for (int j = 0; j < 16; ++j) lanes[j] += widened(grad[i + j]) * widened(grad[i + j]);
  for (int64_t i = whole; i < n; ++i) lanes[i - whole] += widened(grad[i]) * widened(grad[i]);
  double sum = 0;
  for (float lane : lanes) sum += lane;
  return sum;
}

WIDE double sum_of_squares(const Weight& w, int64_t begin, int64_t end) {
  return w.grad_bf16 ? squares(static_cast<const bf16*>(w.grad) + begin, end - begin)
                     : squares(static_cast<const float*>(w.grad) + begin, end - begin);
}

struct Rates {
  float scale, beta1, beta2, epsilon;
};

template <class Gradient, class Copy>
inline __attribute__((always_inline)) void updated(const Weight& w, const Rates& r, int64_t begin, int64_t end) {
  const float step = w.rate / w.correction1, root = 1 / std::sqrt(w.correction2), kept = 1 - w.decay;
  const float scale = r.scale, beta2 = r.beta2, rest1 = 1 - r.beta1, rest2 = 1 - r.beta2, epsilon = r.epsilon;
  const Gradient* __restrict grad = static_cast<const Gradient*>(w.grad) + begin;
  Copy* __restrict copy = static_cast<Copy*>(w.copy) + begin;
  float* __restrict weight = w.weight + begin;
  float* __restrict mean = w.mean + begin;
  float* __restrict square = w.square + begin;
  const int64_t n = end - begin;
#pragma GCC ivdep
  for (int64_t i = 0; i < n; ++i) {
    const float g = widened(grad[i]) * scale;
    const float m = mean[i] + rest1 * (g - mean[i]);
    const float v = beta2 * square[i] + rest2 * g * g;
    const float x = weight[i] * kept - step * m / (std::sqrt(v) * root + epsilon);
    mean[i] = m;
    square[i] = v;
    weight[i] = x;
    narrowed(x, copy[i]);
  }
}

WIDE void update(const Weight& w, const Rates& r, int64_t begin, int64_t end) {
  if (w.grad_bf16 && w.copy_bf16) updated<bf16, bf16>(w, r, begin, end);
  if (w.grad_bf16 && !w.copy_bf16) updated<bf16, float>(w, r, begin, end);
  if (!w.grad_bf16 && w.copy_bf16) updated<float, bf16>(w, r, begin, end);
  if (!w.grad_bf16 && !w.copy_bf16) updated<float, float>(w, r, begin, end);
}

// A piece of a weight, of about CHUNK numbers.
struct Task {
  int weight;
  int64_t begin, end;  // values, or entries of `rows`
};

std::vector<Task> tasks_of(const Weight* weights, int count) {
  std::vector<Task> tasks;
  for (int i = 0; i < count; ++i) {
    const int64_t step = std::max<int64_t>(1, CHUNK / weights[i].width);
    for (int64_t begin = 0; begin < weights[i].count; begin += step)
      tasks.push_back({i, begin, std::min(begin + step, weights[i].count)});
  }
  return tasks;
}

template <class Each>
void each_run(const Weight& w, const Task& task, Each each) {
  if (!w.rows) return each(task.begin, task.end);
  for (int64_t i = task.begin; i < task.end; ++i) each(w.rows[i] * w.width, (w.rows[i] + 1) * w.width);
}

}  // namespace

extern "C" {

// The interface version, which adamw.py compares.
int filbert_adamw_interface() { return 1; }

void* filbert_pool(int threads) try {
  return new Pool(threads);
} catch (...) {
  return nullptr;
}

// The sum of squares of all gradients; those of rows that are not in `rows` are 0.
double filbert_squares(void* pool, const Weight* weights, int count) try {
  const std::vector<Task> tasks = tasks_of(weights, count);
  std::vector<double> sums(tasks.size());
  static_cast<Pool*>(pool)->run(static_cast<int>(tasks.size()), [&](int n, int) {
    const Weight& w = weights[tasks[n].weight];
    double sum = 0;
    each_run(w, tasks[n], [&](int64_t begin, int64_t end) { sum += sum_of_squares(w, begin, end); });
    sums[n] = sum;
  });
  double sum = 0;
  for (double each : sums) sum += each;
  return sum;
} catch (...) {
  return -1;  // no memory
}

// One step of all weights, with gradients multiplied by `scale`. Returns 0 where memory runs out; nothing is then changed.
int filbert_adamw(void* pool, const Weight* weights, int count, float scale, float beta1, float beta2, float epsilon) try {
  const std::vector<Task> tasks = tasks_of(weights, count);
  const Rates rates = {scale, beta1, beta2, epsilon};
  static_cast<Pool*>(pool)->run(static_cast<int>(tasks.size()), [&](int n, int) {
    const Weight& w = weights[tasks[n].weight];
    each_run(w, tasks[n], [&](int64_t begin, int64_t end) { update(w, rates, begin, end); });
  });
  return 1;
} catch (...) {
  return 0;
}
}
