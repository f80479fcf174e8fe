// Attention over packed texts and its gradient, for training. Called by `filbert/model/native_training.py`.
//
// One text and head at a time. The weights are not kept for the backward pass but recomputed from each query's log-sum-exp
// (Dao et al. 2022), which is cheaper than reading them from memory; keys and values of one head and text stay in the
// cache. Sums are in fp32, in an order that does not depend on the batch. `attend_readable` in attention.py is the
// definition; a test compares them.
//
// Shapes: T tokens, H heads, E width of a head, D = H · E.

#pragma once

#include <atomic>

#include "../shared/attention.h"

namespace {

constexpr int QUERIES = 64;  // of a block: its weights of 512 keys, 64 kB in bf16, 128 in fp32, stay in the L2 cache
constexpr int PAIR = PER_WORD<Kind>;

// A thread's buffers for a gradient: queries, keys, values and gradients of one text and head laid out as words, the
// weights of a block of queries and the gradients of their scores, and sums for each key.
struct Desk : Attention {
  Buffer<uint32_t> value_columns, key_rows, query_rows, grad_rows, weight_pairs, score_grad_pairs;
  Buffer<Number> block_weights, block_score_grads;
  Buffer<float> weight_grads, key_sums, value_sums;

  void reserve(int slots, int width) {
    for (auto* words : {&keys, &values}) words->get(static_cast<size_t>(slots) * width / PAIR);
    weights.get(static_cast<size_t>(ROWS) * slots / PAIR);
    scores.get(static_cast<size_t>(ROWS) * slots);
  }

  void reserve_back(int slots, int width) {
    const size_t text = static_cast<size_t>(slots) * width, block = static_cast<size_t>(QUERIES) * slots;
    for (auto* words : {&keys, &value_columns, &key_rows}) words->get(text / PAIR);
    for (auto* words : {&query_rows, &grad_rows}) words->get(static_cast<size_t>(QUERIES) * width / PAIR);
    for (auto* words : {&weight_pairs, &score_grad_pairs}) words->get(PAIR == 2 ? block / 2 : 0);
    for (auto* rows : {&block_weights, &block_score_grads}) rows->get(block);
    for (auto* rows : {&scores, &weight_grads}) rows->get(static_cast<size_t>(ROWS) * slots);
    for (auto* sums : {&key_sums, &value_sums}) sums->get(text);
  }
};

// The start of a text and head in queries, keys and values, the context's gradient and the log-sum-exps.
struct Place {
  const Number *q, *k, *v, *grad;
  const float* lse;
  Number *grad_q, *grad_k, *grad_v;
  int q_stride, stride;  // `stride` of keys and values
  int queries, length, slots, width, hidden, heads;
};

// Scores of one query, which become its weights, and these weights' gradients → the weights, and the gradients of the
// scores.
inline void back_row(float* scores, const float* weight_grads, int length, int slots, int width, float lse,
                     Number* weights, Number* score_grads) {
  const float root = std::sqrt(static_cast<float>(width)), factor = LOG2_E / root;  // the factor that made `lse`
  const auto weigh = [&](int i) {  // at most 1, but a large score minus a large log-sum-exp may be rounded to much more
    return Kind::exp2(smaller(all(1.0f), multiply_subtract(load(scores + i), all(factor), all(lse))));
  };
  Floats sum = {};
  const auto keep = [&](int i, Floats weight) {
    sum = multiply_add(weight, load(weight_grads + i), sum);
    store(scores + i, weight);
    store(weights + i, weight);
  };
  for (int i = 0; i < slots - LANES; i += LANES) keep(i, weigh(i));
  keep(slots - LANES, where(last_lanes(length, slots), weigh(slots - LANES)));
  const Floats mean = all(sum_of(sum));
  for (int i = 0; i < slots; i += LANES) {
    store(score_grads + i, load(scores + i) * ((load(weight_grads + i) - mean) * all(1.0f / root)));
  }
}

// Add to the sums of R keys: the queries' coefficients × two vectors of columns of the queries' values.
template <int R>
inline void sum_tile(const uint32_t* numbers, int slots, int steps, const uint32_t* rows, int width, float* sums) {
  Floats sum[R][2];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < 2; ++c) sum[r][c] = load(sums + static_cast<size_t>(r) * width + LANES * c);
  for (int j = 0; j < steps; ++j, numbers += slots, rows += width) {
    const Words row[2] = {load_words(rows), load_words(rows + LANES)};
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Words number = four_bytes(numbers + r);
      #pragma GCC unroll 8
      for (int c = 0; c < 2; ++c) sum[r][c] = Kind::add(sum[r][c], number, row[c]);
    }
  }
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < 2; ++c) store(sums + static_cast<size_t>(r) * width + LANES * c, sum[r][c]);
}

#ifdef __AVX512BF16__

// Rows, one per query → words [queries / 2][slots], two queries in a word.
const uint32_t* by_query(const bf16* block, int queries, int slots, Buffer<uint32_t>& words) {
  uint32_t* pairs = words.data();
  for (int q = 0; q < queries; q += 2, pairs += slots) {
    const bf16* row = block + static_cast<size_t>(q) * slots;
    int i = 0;
    for (; i + 32 <= slots; i += 32) {
      const __m512i next = q + 1 < queries ? _mm512_loadu_si512(row + slots + i) : _mm512_setzero_si512();
      interleave(_mm512_loadu_si512(row + i), next, pairs + i);
    }
    for (; i < slots; ++i) pairs[i] = row[i] | static_cast<uint32_t>(q + 1 < queries ? row[slots + i] : 0) << 16;
  }
  return words.data();
}

#else

// In fp32 each value is a word.
const uint32_t* by_query(const float* block, int, int, Buffer<uint32_t>&) {
  return reinterpret_cast<const uint32_t*>(block);
}

#endif

// Compute the gradients of a block of queries, and add the block's part to those of keys and values.
void block_back(const Place& at, int first, int queries, Desk& desk) {
  const int slots = at.slots, width = at.width, stride = at.q_stride, even = up_to(queries, PAIR);
  const Number* q = at.q + static_cast<size_t>(first) * stride;
  const Number* grad = at.grad + static_cast<size_t>(first) * at.hidden;
  lay_out_rows(q, stride, queries, even, width, desk.query_rows.data());
  lay_out_rows(grad, at.hidden, queries, even, width, desk.grad_rows.data());
  tiles(queries, [&](int row, auto count) {
    constexpr int R = decltype(count)::value;
    float *scores = desk.scores.data(), *weight_grads = desk.weight_grads.data();
    score_rows<Kind, R>(q + static_cast<size_t>(row) * stride, stride, desk.keys.data(), slots, width, scores);
    score_rows<Kind, R>(grad + static_cast<size_t>(row) * at.hidden, at.hidden, desk.value_columns.data(), slots, width,
                        weight_grads);
    Number* weights = desk.block_weights.data() + static_cast<size_t>(row) * slots;
    Number* score_grads = desk.block_score_grads.data() + static_cast<size_t>(row) * slots;
    for (int r = 0; r < R; ++r) {
      const size_t begin = static_cast<size_t>(r) * slots;
      back_row(scores + begin, weight_grads + begin, at.length, slots, width,
               at.lse[static_cast<size_t>(first + row + r) * at.heads], weights + begin, score_grads + begin);
    }
    Number* out = at.grad_q + static_cast<size_t>(first + row) * stride;
    for (int e = 0; e < width; e += 2 * LANES) {
      context_tile<Kind, R>(reinterpret_cast<const uint32_t*>(score_grads), slots / PAIR, desk.key_rows.data() + e,
                            width, nullptr, out + e, stride);
    }
  });
  const uint32_t* weights = by_query(desk.block_weights.data(), queries, slots, desk.weight_pairs);
  const uint32_t* score_grads = by_query(desk.block_score_grads.data(), queries, slots, desk.score_grad_pairs);
  tiles(slots, [&](int key, auto count) {
    constexpr int R = decltype(count)::value;
    for (int e = 0; e < width; e += 2 * LANES) {
      const size_t place = static_cast<size_t>(key) * width + e;
      sum_tile<R>(weights + key, slots, even / PAIR, desk.grad_rows.data() + e, width, desk.value_sums.data() + place);
      sum_tile<R>(score_grads + key, slots, even / PAIR, desk.query_rows.data() + e, width,
                  desk.key_sums.data() + place);
    }
  });
}

void attend_back(const Place& at, Desk& desk) {
  const int slots = at.slots, width = at.width, stride = at.stride;
  desk.reserve_back(slots, width);
  lay_out_columns<Kind>(at.k, stride, at.length, slots, width, desk.keys.data());
  lay_out_columns<Kind>(at.v, stride, at.length, slots, width, desk.value_columns.data());
  lay_out_rows(at.k, stride, at.length, slots, width, desk.key_rows.data());
  std::fill_n(desk.key_sums.data(), static_cast<size_t>(slots) * width, 0.0f);
  std::fill_n(desk.value_sums.data(), static_cast<size_t>(slots) * width, 0.0f);
  for (int first = 0; first < at.queries; first += QUERIES) {
    block_back(at, first, std::min(QUERIES, at.queries - first), desk);
  }
  for (int j = 0; j < at.length; ++j) {
    for (int e = 0; e < width; e += LANES) {
      const size_t place = static_cast<size_t>(j) * width + e, to = static_cast<size_t>(j) * stride + e;
      store(at.grad_k + to, load(desk.key_sums.data() + place));
      store(at.grad_v + to, load(desk.value_sums.data() + place));
    }
  }
}

// This thread's buffers, kept until the thread ends.
Desk& desk() {
  static thread_local Desk mine;
  return mine;
}

// Call work(text, head, desk) for all, the longest text first: texts are packed shortest first. 0: no memory.
template <class Work>
int share_out(int texts, int heads, int threads, const Work& work) {
  std::atomic<bool> failed{false};
  #pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (int task = 0; task < texts * heads; ++task) {
    try {
      if (!failed) work(texts - 1 - task / heads, task % heads, desk());
    } catch (const std::bad_alloc&) {
      failed = true;
    }
  }
  return !failed;
}

}  // namespace

extern "C" {

// Returns the interface version, 3, where the processor has the instructions; native_training.py compares it.
int filbert_training_interface() {
  return able() ? 3 : 0;
}

// The arguments of both passes: queries with `q_stride` numbers from one to the next, keys and values with `stride`; the
// starts of each text's queries and keys. `width`, of a head, is a multiple of 32.
struct Given {
  const Number *q, *k, *v;
  const int64_t *query_starts, *starts;
  int q_stride, stride, texts, heads, width, threads;
};

// Compute the context and, where `lse` is not null, each query's log-sum-exp for the backward pass. This function and the
// next return 0 where memory runs out.
int filbert_attend(const Given* given, Number* context, float* lse) {
  const Given& g = *given;
  const int hidden = g.heads * g.width;
  return share_out(g.texts, g.heads, g.threads, [&](int text, int head, Desk& desk) {
    const int64_t first = g.starts[text], query = g.query_starts[text], at = head * g.width;
    const int length = static_cast<int>(g.starts[text + 1] - first), slots = up_to(length, LANES);
    const int queries = static_cast<int>(g.query_starts[text + 1] - query);
    desk.reserve(slots, g.width);
    const Head<Kind, Number> one = {
        g.q + query * g.q_stride + at, g.k + first * g.stride + at, g.v + first * g.stride + at, g.q_stride, g.stride,
        queries, length, slots, g.width, context + query * hidden + at, hidden,
        lse ? lse + query * g.heads + head : nullptr, g.heads};
    attend(one, desk);
  });
}

// Compute the gradients of queries, keys and values from the context's.
int filbert_attend_back(const Given* given, const Number* grad, const float* lse, Number* grad_q, Number* grad_k,
                        Number* grad_v) {
  const Given& g = *given;
  const int hidden = g.heads * g.width;
  return share_out(g.texts, g.heads, g.threads, [&](int text, int head, Desk& desk) {
    const int64_t first = g.starts[text], query = g.query_starts[text], at = head * g.width;
    const int64_t from = query * g.q_stride + at, to = first * g.stride + at;
    const int length = static_cast<int>(g.starts[text + 1] - first);
    const Place place = {
        g.q + from, g.k + to, g.v + to, grad + query * hidden + at, lse + query * g.heads + head,
        grad_q + from, grad_k + to, grad_v + to, g.q_stride, g.stride,
        static_cast<int>(g.query_starts[text + 1] - query), length, up_to(length, LANES), g.width, hidden, g.heads};
    attend_back(place, desk);
  });
}

}  // extern "C"
