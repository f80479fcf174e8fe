// BERT's encoder for inference on processors with AVX-512 (VNNI and bf16): what `filbert/model/quantized.py` calls.
//
//   ids → embeddings → L × (query, key, value → attention → the rest of the layer) → hidden (→ head → logits)
//
// A layer multiplies in int8, with one scale for each token and each column of a weight, in bf16, or in fp32. Before
// numbers are rounded to int8, each 64 of them are mixed, on both sides of a product, so that none stands out. A token's
// numbers never depend on the texts beside it, and are summed up in an order that does not either, so the same text gives
// the same bits in any batch. Between two products nothing goes back to memory but what the next one reads: bias, GELU,
// layer norm and rounding are done on a block of rows while it lies in the cache. Attention goes through one text and head
// at a time, in the layer's precision. `encode_readable` in quantized.py is the twin that says the same in a page of
// Python; a test holds both together.
//
// Plain C at the edge, no Python and no torch inside. Where the processor or the compiler lacks the instructions,
// `filbert_supported` says 0.
//
// Shapes: T tokens, B texts, D hidden width, F feed-forward width, E width of a head, K × N a weight's inputs × outputs.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512VNNI__) && defined(__AVX512BF16__)

#include <vector>

#include "attention_int8.h"
#include "pool.h"
#include "simd.h"

namespace {

constexpr int PANEL = 64;        // columns of a tile
constexpr int STEP = 4 * PANEL;  // bytes of a panel that one step takes: four inputs of int8, two of bf16, one of fp32
constexpr int BLOCK = 48;        // rows that go through a layer together; 48 × 1,536 floats lie in the L2 cache

// ---- 16 numbers at a time -------------------------------------------------------------------------------------------

// GELU(x) = x (1 + erf(x / √2)) / 2, with erf(x / √2) / x as a polynomial of u = 2 (x / limit)² - 1; beyond the limit the
// error function is taken as it is there.
template <int N>
inline __m512 gelu(__m512 x, float limit, const float (&coefficients)[N]) {
  const __m512 inside = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-limit)), _mm512_set1_ps(limit));
  const __m512 factor = _mm512_set1_ps(2.0f / (limit * limit));
  const __m512 u = _mm512_fmsub_ps(_mm512_mul_ps(inside, inside), factor, _mm512_set1_ps(1.0f));
  const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5f));
  return _mm512_fmadd_ps(half, _mm512_mul_ps(inside, polynomial(u, coefficients)), half);
}

// To 1e-6, fitted at Chebyshev's points.
inline __m512 gelu(__m512 x) {
  constexpr float coefficients[] = {
      1.31247329e-03f, -2.85608161e-03f, 1.27981301e-03f, -2.10354618e-03f, 9.44713924e-03f,
      -1.57563876e-02f, 2.03284240e-02f, -2.91207172e-02f, 4.07696138e-02f, -5.22832124e-02f,
      6.41344464e-02f, -7.75680591e-02f, 9.54755918e-02f, -1.28345152e-01f, 2.57103859e-01f};
  return gelu(x, 5.5f, coefficients);
}

// To 3e-4, for what is rounded next; the largest error of GELU itself is the least.
inline __m512 gelu_rough(__m512 x) {
  constexpr float coefficients[] = {8.57088150e-03f,  -2.53627474e-02f, 4.14790136e-02f, -6.72484692e-02f,
                                    1.10268602e-01f, -1.74077950e-01f, 3.69505620e-01f};
  return gelu(x, 3.8f, coefficients);
}

// ---- products -------------------------------------------------------------------------------------------------------

// What a layer multiplies in; the values are those of quantized.py.
enum Precision { INT8 = 0, BF16 = 1, FP32 = 2 };

int bytes_of(Precision precision) { return 1 << precision; }

// Pairs of lanes whose numbers differ in this bit become their sum and, where the bit is set, their difference.
template <int BIT>
inline __m512 butterfly(__m512 x) {
  static_assert(BIT == 1 || BIT == 2 || BIT == 4 || BIT == 8, "a bit of the number of a lane");
  constexpr __mmask16 with = BIT == 1 ? 0xaaaa : BIT == 2 ? 0xcccc : BIT == 4 ? 0xf0f0 : 0xff00;
  const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_mask_sub_ps(one, with, _mm512_setzero_ps(), one);
  const __m512 other = BIT == 1   ? _mm512_permute_ps(x, 0xb1)
                       : BIT == 2 ? _mm512_permute_ps(x, 0x4e)
                       : BIT == 4 ? _mm512_shuffle_f32x4(x, x, 0xb1)
                                  : _mm512_shuffle_f32x4(x, x, 0x4e);
  return _mm512_fmadd_ps(x, sign, other);
}

// Mix 64 numbers: times Hadamard's matrix (entries ±1, rows at right angles), the last 16 negated before, so that what all
// 64 have in common does not end in one of them. Mixed twice a product is 64 times as large.
inline void mix(const float* x, __m512 (&y)[4]) {
  const __m512 a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
  const __m512 c = _mm512_loadu_ps(x + 32), d = _mm512_loadu_ps(x + 48);
  const __m512 first[4] = {_mm512_add_ps(a, c), _mm512_sub_ps(b, d), _mm512_sub_ps(a, c), _mm512_add_ps(b, d)};
  y[0] = _mm512_add_ps(first[0], first[1]);
  y[1] = _mm512_sub_ps(first[0], first[1]);
  y[2] = _mm512_add_ps(first[2], first[3]);
  y[3] = _mm512_sub_ps(first[2], first[3]);
  #pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) y[i] = butterfly<1>(butterfly<2>(butterfly<4>(butterfly<8>(y[i]))));
}

// Rows on their way into a product: fp32 or bf16 numbers, or q from 0 to 255, and row i, mixed, is scale[i] · q[i] + low[i];
// `mixed` is a place for one row.
struct Rows {
  uint8_t* bytes;
  int width;
  float *scale, *low, *mixed;

  template <class Number>
  Number* at(int row) const {
    return reinterpret_cast<Number*>(bytes) + static_cast<size_t>(row) * width;
  }
};

void round_row(const float* x, const Rows& to, int row, Precision precision) {
  if (precision == FP32) {
    std::memcpy(to.at<float>(row), x, sizeof(float) * to.width);
    return;
  }
  if (precision == BF16) {
    for (int i = 0; i < to.width; i += 16) store_bf16(to.at<bf16>(row) + i, _mm512_loadu_ps(x + i));
    return;
  }
  __m512 most = _mm512_set1_ps(-INFINITY), least = _mm512_set1_ps(INFINITY);
  for (int i = 0; i < to.width; i += 64) {
    __m512 four[4];
    mix(x + i, four);
    #pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      most = _mm512_max_ps(most, four[j]);
      least = _mm512_min_ps(least, four[j]);
      _mm512_storeu_ps(to.mixed + i + 16 * j, four[j]);
    }
  }
  const float low = _mm512_reduce_min_ps(least), range = _mm512_reduce_max_ps(most) - low;
  const __m512 inverse = _mm512_set1_ps(range > 0 ? 255.0f / range : 0.0f), from = _mm512_set1_ps(low);
  for (int i = 0; i < to.width; i += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(to.mixed + i), from), inverse);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to.at<uint8_t>(row) + i), _mm512_cvtusepi32_epi8(_mm512_cvtps_epi32(v)));
  }
  to.scale[row] = range / 255.0f;
  to.low[row] = low;
}

// A weight of N × K, whose rows become the columns of the product, in panels of 64. In a panel four inputs (int8) or two
// (bf16) of a column lie together, as the instructions want it. Of int8: column n, mixed and divided by 64,
// is scale[n] · q[n], q from -127 to 127, and total[n] the sum over its inputs.
struct Linear {
  int in = 0;
  Precision precision = INT8;
  Buffer<uint8_t> weight;
  Buffer<float> scale, total, bias;

  void set(const float* weight_NK, const float* bias_N, int n, int k, Precision wanted) {
    in = k;
    precision = wanted;
    weight.get(static_cast<size_t>(n) * k * bytes_of(precision));
    std::memcpy(bias.get(n), bias_N, sizeof(float) * n);
    if (precision == INT8) {
      scale.get(n);
      total.get(n);
    }
    for (int column = 0; column < n; ++column) {
      const float* row = weight_NK + static_cast<size_t>(column) * k;
      if (precision == INT8) set_int8(row, column);
      if (precision == BF16) set_bf16(row, column);
      if (precision == FP32) set_fp32(row, column);
    }
  }

  const uint8_t* panel(int number) const {
    return weight.data() + static_cast<size_t>(number) * PANEL * in * bytes_of(precision);
  }

 private:
  void set_int8(const float* plain, int column) {
    std::vector<float> row(in);
    for (int i = 0; i < in; i += 64) {
      __m512 four[4];
      mix(plain + i, four);
      for (int j = 0; j < 4; ++j) _mm512_storeu_ps(&row[i + 16 * j], _mm512_mul_ps(four[j], _mm512_set1_ps(1.0f / 64)));
    }
    float largest = 0;
    for (int i = 0; i < in; ++i) largest = std::max(largest, std::fabs(row[i]));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    int8_t* to = reinterpret_cast<int8_t*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    to += column % PANEL * 4;
    int sum = 0;
    for (int i = 0; i < in; ++i) {
      const int q = static_cast<int>(std::nearbyint(row[i] * inverse));
      to[i / 4 * PANEL * 4 + i % 4] = static_cast<int8_t>(q);
      sum += q;
    }
    scale.data()[column] = largest / 127.0f;
    total.data()[column] = largest / 127.0f * static_cast<float>(sum);
  }

  void set_bf16(const float* row, int column) {
    bf16* to = reinterpret_cast<bf16*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    to += column % PANEL * 2;
    bf16 rounded[16];
    for (int i = 0; i < in; ++i) {
      if (i % 16 == 0) store_bf16(rounded, _mm512_loadu_ps(row + i));
      to[i / 2 * PANEL * 2 + i % 2] = rounded[i % 16];
    }
  }

  void set_fp32(const float* row, int column) {
    float* to = reinterpret_cast<float*>(weight.data()) + static_cast<size_t>(column / PANEL) * PANEL * in;
    for (int i = 0; i < in; ++i) to[i * PANEL + column % PANEL] = row[i];
  }
};

// In int8 a tile takes four inputs at a step and sums whole numbers; the scales come at the end.
struct Int8 {
  using Sum = Ints;
  using Number = uint8_t;
  static Sum add(Sum sum, __m512i input, __m512i column) { return add_bytes(sum, input, column); }
};

inline __m512 result(Ints sum, const Linear& w, int n, const Rows& x, int row) {
  const __m512 scale = _mm512_mul_ps(_mm512_load_ps(w.scale.data() + n), _mm512_set1_ps(x.scale[row]));
  const __m512 total = _mm512_load_ps(w.total.data() + n), bias = _mm512_load_ps(w.bias.data() + n);
  const __m512 rest = _mm512_fmadd_ps(total, _mm512_set1_ps(x.low[row]), bias);
  return _mm512_fmadd_ps(_mm512_cvtepi32_ps((__m512i)sum), scale, rest);
}

inline __m512 result(__m512 sum, const Linear& w, int n, const Rows&, int) {
  return _mm512_add_ps(sum, _mm512_load_ps(w.bias.data() + n));
}

// One tile of a product: R tokens × 64 columns. `take(row, column, 16 numbers)` gets them.
template <class Kind, int R, class Store>
inline void tile(const Linear& w, int panel, const Rows& x, int first, const Store& take) {
  typename Kind::Sum sum[R][4];
  #pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
    #pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) sum[r][c] = typename Kind::Sum{};
  const uint8_t* weight = w.panel(panel);
  const auto* token = x.at<typename Kind::Number>(first);
  constexpr int inputs = 4 / sizeof(typename Kind::Number);
  for (int k = 0; k < w.in; k += inputs, weight += STEP) {
    __m512i column[4];
    #pragma GCC unroll 8
    for (int c = 0; c < 4; ++c) column[c] = _mm512_load_si512(weight + 64 * c);
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512i input = four_bytes(token + static_cast<size_t>(r) * x.width + k);
      #pragma GCC unroll 8
      for (int c = 0; c < 4; ++c) sum[r][c] = Kind::add(sum[r][c], input, column[c]);
    }
  }
  #pragma GCC unroll 8
  for (int c = 0; c < 4; ++c)
    #pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const int n = panel * PANEL + 16 * c;
      take(first + r, n, result(sum[r][c], w, n, x, first + r));
    }
}

// Rows [0, rows) of x times the panels [from, to) of w.
template <class Store>
void product(const Linear& w, int from, int to, const Rows& x, int rows, const Store& take) {
  for (int panel = from; panel < to; ++panel) {
    tiles(rows, [&](int first, auto count) {
      constexpr int R = decltype(count)::value;
      if (w.precision == INT8) tile<Int8, R>(w, panel, x, first, take);
      if (w.precision == BF16) tile<Bf16, R>(w, panel, x, first, take);
      if (w.precision == FP32) tile<Fp32, R>(w, panel, x, first, take);
    });
  }
}

struct Norm {
  Buffer<float> weight, bias;
  void set(const float* w, const float* b, int n) {
    std::memcpy(weight.get(n), w, sizeof(float) * n);
    std::memcpy(bias.get(n), b, sizeof(float) * n);
  }
};

// y = norm(x + residual), over one row.
void normalise(const float* x, const float* residual, const Norm& norm, float eps, int width, float* y) {
  __m512 sum = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_add_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(residual + i));
    sum = _mm512_add_ps(sum, v);
    _mm512_storeu_ps(y + i, v);
  }
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / width);
  __m512 squares = _mm512_setzero_ps();
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_sub_ps(_mm512_loadu_ps(y + i), mean);
    squares = _mm512_fmadd_ps(v, v, squares);
  }
  const __m512 scale = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + eps));
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(y + i), mean), scale);
    const __m512 weight = _mm512_load_ps(norm.weight.data() + i), bias = _mm512_load_ps(norm.bias.data() + i);
    _mm512_storeu_ps(y + i, _mm512_fmadd_ps(v, weight, bias));
  }
}

// ---- the encoder ----------------------------------------------------------------------------------------------------

struct Layer {
  Linear qkv, out, up, down;
  Norm attention_norm, norm;
};

// What one thread works in: the rows of a block. `narrow` is D wide, what a product gives; `middle`, the state between
// the halves of a layer; `wide` is F wide; `bytes` are rows on their way into a product.
struct Desk {
  Attention attention;
  Int8Attention attention_int8;
  Buffer<float> narrow, middle, wide, mixed, scale, low, logits;
  Buffer<uint8_t> bytes, bytes_wide;

  void grow(int head, int hidden, int intermediate, int longest) {
    const size_t slots = up_to(longest, 16);
    attention.keys.get(slots * head);
    attention.values.get(slots * head);
    attention.weights.get(slots * ROWS);
    attention.scores.get(slots * ROWS);
    attention_int8.reserve(static_cast<int>(slots), head);
    for (Buffer<float>* each : {&narrow, &middle}) each->get(static_cast<size_t>(BLOCK) * hidden);
    wide.get(static_cast<size_t>(BLOCK) * intermediate);
    mixed.get(std::max(hidden, intermediate));
    for (Buffer<float>* each : {&scale, &low}) each->get(BLOCK);
    bytes.get(static_cast<size_t>(BLOCK) * hidden * 4);
    bytes_wide.get(static_cast<size_t>(BLOCK) * intermediate * 4);
  }
};

struct Batch {
  const int32_t *ids, *positions, *segments, *starts;
  int texts, tokens;
  bool first_only, logits;
};

class Encoder {
 public:
  Encoder(int layers, int hidden, int heads, int intermediate, float eps, bool in_fp32, int threads)
      : in_fp32_(in_fp32),
        layers_(layers),
        hidden_(hidden),
        heads_(heads),
        intermediate_(intermediate),
        eps_(eps),
        pool_(threads),
        desks_(pool_.threads()) {}

  std::vector<Layer>& layers() { return layers_; }
  bool forked() const { return pool_.forked(); }

  void embeddings(const float* token, const float* position, const float* segment, const float* weight,
                  const float* bias) {
    token_ = token;
    position_ = position;
    segment_ = segment;
    embeddings_norm_.set(weight, bias, hidden_);
  }

  // A classifier's head, always in fp32: pooler, tanh, one linear layer. Its columns are filled up to whole panels.
  void head(const float* pooler_DD, const float* pooler_D, const float* last_CD, const float* last_C, int classes) {
    pooler_.set(pooler_DD, pooler_D, hidden_, hidden_, FP32);
    classes_ = classes;
    columns_ = up_to(classes, PANEL);
    std::vector<float> weight(static_cast<size_t>(columns_) * hidden_), bias(columns_);
    std::copy_n(last_CD, static_cast<size_t>(classes) * hidden_, weight.begin());
    std::copy_n(last_C, classes, bias.begin());
    last_.set(weight.data(), bias.data(), columns_, hidden_, FP32);
  }

  void run(const Batch& batch, float* result) {
    const size_t tokens = batch.tokens;
    float* out = batch.logits ? first_.get(static_cast<size_t>(batch.texts) * hidden_) : result;
    state_.get(tokens * hidden_);
    context_.get(tokens * hidden_);
    qkv_.get(tokens * 3 * hidden_ * (in_fp32_ ? 4 : 2));
    int longest = 0;
    for (int text = 0; text < batch.texts; ++text) {
      longest = std::max(longest, batch.starts[text + 1] - batch.starts[text]);
    }
    for (Desk& desk : desks_) {  // no thread may run out
      desk.grow(hidden_ / heads_, hidden_, intermediate_, longest);
      if (batch.logits) desk.logits.get(static_cast<size_t>(BLOCK) * columns_);
    }
    blocks(batch.tokens, [&](int first, int rows, Desk& desk) { embed(batch, first, rows, desk); });
    const int last = static_cast<int>(layers_.size()) - 1;
    for (int i = 0; i <= last; ++i) {
      const bool first_only = batch.first_only && i == last;
      if (first_only) first_queries(batch, layers_[i]);
      pool_.run(batch.texts * heads_, [&](int task, int thread) {
        attend_text(batch, task / heads_, task % heads_, first_only, layers_[i].qkv.precision, desks_[thread]);
      });
      blocks(first_only ? batch.texts : batch.tokens, [&](int first, int rows, Desk& desk) {
        finish(batch, i, first, rows, first_only, i == last ? out : nullptr, desk);
      });
    }
    if (!batch.logits) return;
    blocks(batch.texts, [&](int first, int rows, Desk& desk) { answer(out, first, rows, result, desk); });
  }

 private:
  // Cut `count` rows into blocks, as many for each thread, and call work(first, rows, desk).
  template <class Work>
  void blocks(int count, const Work& work) {
    if (!count) return;
    const int parts = up_to(std::max(1, (count + BLOCK - 1) / BLOCK), pool_.threads());
    const int size = up_to((count + parts - 1) / parts, ROWS);
    pool_.run((count + size - 1) / size, [&](int task, int thread) {
      work(task * size, std::min(size, count - task * size), desks_[thread]);
    });
  }

  Rows inputs(Desk& desk) const {
    return {desk.bytes.data(), hidden_, desk.scale.data(), desk.low.data(), desk.mixed.data()};
  }

  void embed(const Batch& batch, int first, int rows, Desk& desk) {
    const Rows x = inputs(desk);
    float* sum = desk.narrow.data();
    for (int r = 0; r < rows; ++r) {
      const int t = first + r;
      const float* token = token_ + static_cast<size_t>(batch.ids[t]) * hidden_;
      const float* segment = segment_ + static_cast<size_t>(batch.segments[t]) * hidden_;
      const float* position = position_ + static_cast<size_t>(batch.positions[t]) * hidden_;
      for (int i = 0; i < hidden_; ++i) sum[i] = token[i] + segment[i];
      float* y = state_.data() + static_cast<size_t>(t) * hidden_;
      normalise(sum, position, embeddings_norm_, eps_, hidden_, y);
      round_row(y, x, r, layers_[0].qkv.precision);
    }
    queries(layers_[0], x, first, rows, batch.first_only && layers_.size() == 1);
  }

  // Query, key and value of a block of rows; keys and values alone where the queries come later.
  void queries(const Layer& layer, const Rows& x, int first, int rows, bool keys_only) {
    const int width = 3 * hidden_;
    product(layer.qkv, keys_only ? hidden_ / PANEL : 0, width / PANEL, x, rows, [&](int row, int n, __m512 y) {
      keep(static_cast<size_t>(first + row) * width + n, y);
    });
  }

  // Put 16 numbers among the queries, keys and values.
  void keep(size_t place, __m512 y) {
    in_fp32_ ? store(numbers<float>() + place, y) : store(numbers<bf16>() + place, y);
  }

  template <class Number>
  Number* numbers() const {
    return reinterpret_cast<Number*>(qkv_.data());
  }

  // The last layer's queries of each text's first token.
  void first_queries(const Batch& batch, const Layer& layer) {
    blocks(batch.texts, [&](int first, int rows, Desk& desk) {
      const Rows x = inputs(desk);
      const auto token = [&](int row) { return static_cast<size_t>(batch.starts[first + row]); };
      for (int r = 0; r < rows; ++r) round_row(state_.data() + token(r) * hidden_, x, r, layer.qkv.precision);
      product(layer.qkv, 0, hidden_ / PANEL, x, rows,
              [&](int row, int n, __m512 y) { keep(token(row) * 3 * hidden_ + n, y); });
    });
  }

  void attend_text(const Batch& batch, int text, int head, bool first_only, Precision precision, Desk& desk) {
    const int queries = first_only ? 1 : batch.starts[text + 1] - batch.starts[text];
    switch (precision) {
      case INT8: attend_int8(head_of<Bf16>(batch, text, head, first_only), queries, desk.attention_int8); break;
      case BF16: attend(head_of<Bf16>(batch, text, head, first_only), queries, desk.attention); break;
      case FP32: attend(head_of<Fp32>(batch, text, head, first_only), queries, desk.attention); break;
    }
  }

  template <class Kind>
  Head<Kind, float> head_of(const Batch& batch, int text, int head, bool first_only) const {
    const int first = batch.starts[text], length = batch.starts[text + 1] - first, width = hidden_ / heads_;
    const auto* q = numbers<typename Kind::Number>() + static_cast<size_t>(first) * 3 * hidden_ + head * width;
    float* out = context_.data() + static_cast<size_t>(first_only ? text : first) * hidden_ + head * width;
    return {q,       q + hidden_, q + 2 * hidden_, 3 * hidden_, length, up_to(length, 16), width, out,
            hidden_, nullptr,     0};
  }

  // Everything of a layer after attention, and the next layer's queries, for a block of rows; `out` takes the last
  // layer's rows.
  void finish(const Batch& batch, int number, int first, int rows, bool first_only, float* out, Desk& desk) {
    const Layer& layer = layers_[number];
    const Rows x = inputs(desk);
    float* narrow = desk.narrow.data();
    float* middle = desk.middle.data();
    float* wide = desk.wide.data();
    const auto to_narrow = [&](int row, int n, __m512 y) {
      _mm512_storeu_ps(narrow + static_cast<size_t>(row) * hidden_ + n, y);
    };
    const auto state = [&](int r) {
      return state_.data() + static_cast<size_t>(first_only ? batch.starts[first + r] : first + r) * hidden_;
    };
    for (int r = 0; r < rows; ++r) {
      round_row(context_.data() + static_cast<size_t>(first + r) * hidden_, x, r, layer.qkv.precision);
    }
    product(layer.out, 0, hidden_ / PANEL, x, rows, to_narrow);
    for (int r = 0; r < rows; ++r) {
      float* y = middle + static_cast<size_t>(r) * hidden_;
      normalise(narrow + static_cast<size_t>(r) * hidden_, state(r), layer.attention_norm, eps_, hidden_, y);
      round_row(y, x, r, layer.qkv.precision);
    }
    const bool exact = layer.up.precision == FP32;
    product(layer.up, 0, intermediate_ / PANEL, x, rows, [&](int row, int n, __m512 y) {
      _mm512_storeu_ps(wide + static_cast<size_t>(row) * intermediate_ + n, exact ? gelu(y) : gelu_rough(y));
    });
    const Rows z = {desk.bytes_wide.data(), intermediate_, x.scale, x.low, x.mixed};
    for (int r = 0; r < rows; ++r) round_row(wide + static_cast<size_t>(r) * intermediate_, z, r, layer.qkv.precision);
    product(layer.down, 0, hidden_ / PANEL, z, rows, to_narrow);
    for (int r = 0; r < rows; ++r) {
      float* y = out ? out + static_cast<size_t>(first + r) * hidden_ : state(r);
      const size_t row = static_cast<size_t>(r) * hidden_;
      normalise(narrow + row, middle + row, layer.norm, eps_, hidden_, y);
      if (!out) round_row(y, x, r, layers_[number + 1].qkv.precision);
    }
    if (out) return;
    const bool next_is_last = number + 2 == static_cast<int>(layers_.size());
    queries(layers_[number + 1], x, first, rows, batch.first_only && next_is_last);
  }

  bool in_fp32_;  // all layers and attention
  // Logits of a block of texts, of their first tokens' vectors.
  void answer(const float* vectors, int first, int rows, float* result, Desk& desk) {
    const Rows x = inputs(desk);
    float *pooled = desk.narrow.data(), *logits = desk.logits.data();
    for (int r = 0; r < rows; ++r) round_row(vectors + static_cast<size_t>(first + r) * hidden_, x, r, FP32);
    product(pooler_, 0, hidden_ / PANEL, x, rows,
            [&](int row, int n, __m512 y) { store(pooled + static_cast<size_t>(row) * hidden_ + n, y); });
    for (int i = 0; i < rows * hidden_; ++i) pooled[i] = std::tanh(pooled[i]);
    for (int r = 0; r < rows; ++r) round_row(pooled + static_cast<size_t>(r) * hidden_, x, r, FP32);
    product(last_, 0, columns_ / PANEL, x, rows,
            [&](int row, int n, __m512 y) { store(logits + static_cast<size_t>(row) * columns_ + n, y); });
    for (int r = 0; r < rows; ++r) {
      std::copy_n(logits + static_cast<size_t>(r) * columns_, classes_,
                  result + static_cast<size_t>(first + r) * classes_);
    }
  }

  std::vector<Layer> layers_;
  Linear pooler_, last_;
  int classes_ = 0, columns_ = 0;
  int hidden_, heads_, intermediate_;
  float eps_;
  const float *token_ = nullptr, *position_ = nullptr, *segment_ = nullptr;
  Norm embeddings_norm_;
  Buffer<float> state_, context_, first_;
  Buffer<uint8_t> qkv_;
  Pool pool_;
  std::vector<Desk> desks_;
};

}  // namespace

extern "C" {

// 3 where the processor has the instructions; another number than quantized.py expects means a library of another version.
int filbert_supported() {
  return able() ? 3 : 0;
}

// Widths are multiples of 64, those of heads of 32. Null where memory runs out.
void* filbert_new(int layers, int hidden, int heads, int intermediate, float eps, int in_fp32, int threads) try {
  return new Encoder(layers, hidden, heads, intermediate, eps, in_fp32 != 0, threads);
} catch (const std::bad_alloc&) {
  return nullptr;
}

// A forked process leaves it to its end: threads that are not there cannot be joined.
void filbert_free(void* encoder) {
  Encoder* mine = static_cast<Encoder*>(encoder);
  if (!mine->forked()) delete mine;
}

// What follows says 0 where memory runs out.

// The three tables are read where they lie, as long as the encoder lives; everything else is copied.
int filbert_embeddings(void* encoder, const float* token, const float* position, const float* segment,
                       const float* weight, const float* bias) try {
  static_cast<Encoder*>(encoder)->embeddings(token, position, segment, weight, bias);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// `part`: 0 query, key and value, 1 out, 2 up, 3 down. A layer's parts have one precision, and all layers fp32 or none.
int filbert_linear(void* encoder, int layer, int part, const float* weight_NK, const float* bias_N, int n, int k,
                   int precision) try {
  Layer& l = static_cast<Encoder*>(encoder)->layers()[layer];
  Linear* parts[] = {&l.qkv, &l.out, &l.up, &l.down};
  parts[part]->set(weight_NK, bias_N, n, k, static_cast<Precision>(precision));
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// `part`: 0 after attention, 1 at the end of the layer.
int filbert_norm(void* encoder, int layer, int part, const float* weight, const float* bias, int n) try {
  Layer& l = static_cast<Encoder*>(encoder)->layers()[layer];
  (part ? l.norm : l.attention_norm).set(weight, bias, n);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// The head of a classifier; without one `filbert_run` gives no logits.
int filbert_head(void* encoder, const float* pooler_DD, const float* pooler_D, const float* last_CD,
                 const float* last_C, int classes) try {
  static_cast<Encoder*>(encoder)->head(pooler_DD, pooler_D, last_CD, last_C, classes);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// Packed texts → hidden_TD (`wanted` 0), hidden_BD of the first tokens (1), or logits_BC (2). One call at a time for each
// encoder, and ids, positions and segments within the tables: the caller sees to both.
int filbert_run(void* encoder, const int32_t* ids, const int32_t* positions, const int32_t* segments,
                const int32_t* starts, int texts, int wanted, float* out) try {
  const Batch batch = {ids, positions, segments, starts, texts, starts[texts], wanted > 0, wanted == 2};
  static_cast<Encoder*>(encoder)->run(batch, out);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

}  // extern "C"

#else

extern "C" int filbert_supported() { return 0; }

#endif
