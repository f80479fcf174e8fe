// BERT's encoder for inference on processors with AVX-512 (VNNI and bf16). Called by `filbert/model/native_encoder.py`.
//
//   ids → embeddings → L × (query, key, value → attention → the rest of the layer) → hidden (→ head → logits)
//
// A layer multiplies in int8, bf16 or fp32 (linear.h). Neither a token's values nor the order of their sums depend on the
// batch, so the same text gives the same bits in any batch. Bias, GELU, LayerNorm and rounding are done on a block of rows
// while it is in the cache, so only the input of the next product is written to memory; short texts go through all layers
// in small bundles for the same reason. In int8 and bf16 the first layer adds cached products of tokens, positions and
// segments (first_layer.h). Attention is computed for one text and head at a time, in the layer's precision; for a
// classifier the last layer computes first tokens only (one_query.h). `encode_readable` in quantized.py is the definition;
// a test compares them.
//
// A C interface, no Python and no torch inside. Where the processor or the compiler lacks the instructions,
// `filbert_supported` returns 0.
//
// Shapes: T tokens, B texts, D hidden width, F feed-forward width, E width of a head.

#include <cstdint>

#if defined(__x86_64__) && defined(__AVX512VNNI__) && defined(__AVX512BF16__)

#include <vector>

#include "attention_int8.h"
#include "first_layer.h"
#include "one_query.h"
#include "../shared/pool.h"

namespace {

constexpr int BLOCK = 48;  // rows processed together; 48 × 1,536 floats fit the L2 cache
constexpr int TEXTS = 12;  // texts whose first tokens attend together; 12 × 12 heads × 384 floats fit, too

constexpr int SHORT = 64;    // tokens of a text; bundles do not help longer ones
constexpr int BUNDLE = 168;  // tokens of a bundle, about: its number of texts is a multiple of six
constexpr int LOTS = 4;      // bundles per thread, at least, so that none waits long for the last one
constexpr int64_t NEAR = 24 << 20;  // values of the weights of all layers, at most, that stay in the cache between bundles

// ---- 16 numbers at a time -------------------------------------------------------------------------------------------

// Error 3e-4, for values that are rounded next; fitted for the least maximum error of GELU.
inline __m512 gelu_rough(__m512 x) {
  constexpr float coefficients[] = {8.57088150e-03f,  -2.53627474e-02f, 4.14790136e-02f, -6.72484692e-02f,
                                    1.10268602e-01f, -1.74077950e-01f, 3.69505620e-01f};
  return gelu_by(x, error_function(x, 3.8f, coefficients));
}

// ---- layer norm -----------------------------------------------------------------------------------------------------

struct Norm {
  Buffer<float> weight, bias;
  void set(const float* w, const float* b, int n) {
    std::memcpy(weight.get(n), w, sizeof(float) * n);
    std::memcpy(bias.get(n), b, sizeof(float) * n);
  }
};

// y = norm(x + residual) of one row; returns 1 / σ, σ the standard deviation.
float normalise(const float* x, const float* residual, const Norm& norm, float eps, int width, float* y) {
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
  const float inverse = 1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / width + eps);
  const __m512 scale = _mm512_set1_ps(inverse);
  for (int i = 0; i < width; i += 16) {
    const __m512 v = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(y + i), mean), scale);
    const __m512 weight = _mm512_load_ps(norm.weight.data() + i), bias = _mm512_load_ps(norm.bias.data() + i);
    _mm512_storeu_ps(y + i, _mm512_fmadd_ps(v, weight, bias));
  }
  return inverse;
}

// ---- the encoder ----------------------------------------------------------------------------------------------------

struct Layer {
  Linear qkv, out, up, down;
  Norm attention_norm, norm;
};

// A thread's buffers for the rows of a block: `narrow`, a product's output, D wide; `middle`, the state between attention
// and feed-forward; `wide`, F wide; `bytes`, the inputs of a product; `asked`, of each head and text first the query
// times K and then the mean of the tokens.
struct Desk {
  Attention attention;
  Int8Attention attention_int8;
  Buffer<float> narrow, middle, wide, mixed, scale, low, asked, scores, logits;
  Buffer<uint8_t> bytes, bytes_wide;

  void grow(int heads, int hidden, int intermediate, int longest) {
    const size_t slots = up_to(longest, 16);
    const int head = hidden / heads;
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
    asked.get(static_cast<size_t>(heads) * TEXTS * hidden);
    scores.get(heads * slots);
  }
};

struct Batch {
  const int32_t *ids, *positions, *segments, *starts;
  int texts, tokens;
  bool first_only, logits;
  bool add_up;  // the first layer's queries, keys and values are sums of cached products
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

  Layer& layer(int number) { return layers_[number]; }
  bool forked() const { return pool_.forked(); }

  // Query, key and value weights of a layer, concatenated.
  void attention(int number, const float* weight_ND, const float* bias_N, Precision precision) {
    Linear& qkv = layers_[number].qkv;
    qkv.precision = precision;
    if (number == 0 && !in_fp32_) {
      first_layer_.set(weight_ND, bias_N, embeddings_norm_.weight.data(), embeddings_norm_.bias.data(), hidden_);
    }
    if (number || in_fp32_ || layers_.size() == 1) qkv.set(weight_ND, bias_N, 3 * hidden_, hidden_, precision);
    if (number + 1 < static_cast<int>(layers_.size())) return;
    const float* keys = weight_ND + static_cast<size_t>(hidden_) * hidden_;
    const float* values = keys + static_cast<size_t>(hidden_) * hidden_;
    one_query_.set(keys, values, bias_N + 2 * hidden_, hidden_, heads_, in_fp32_ ? FP32 : BF16);
  }

  // To be called before `attention`, as the first layer's needs the norm.
  void embeddings(const float* token, const float* position, const float* segment, const int32_t* counts,
                  const float* weight, const float* bias) {
    token_ = token;
    position_ = position;
    segment_ = segment;
    if (!in_fp32_) {
      first_layer_.token.set(token, counts[0], hidden_);
      first_layer_.position.set(position, counts[1], hidden_);
      first_layer_.segment.set(segment, counts[2], hidden_);
    }
    embeddings_norm_.set(weight, bias, hidden_);
  }

  // A classifier's head, always in fp32: pooler, tanh, one linear layer. Its columns are padded to whole panels.
  void head(const float* pooler_DD, const float* pooler_D, const float* last_CD, const float* last_C, int classes) {
    pooler_.set(pooler_DD, pooler_D, hidden_, hidden_, FP32);
    classes_ = classes;
    columns_ = up_to(classes, PANEL);
    std::vector<float> weight(static_cast<size_t>(columns_) * hidden_), bias(columns_);
    std::copy_n(last_CD, static_cast<size_t>(classes) * hidden_, weight.begin());
    std::copy_n(last_C, classes, bias.begin());
    last_.set(weight.data(), bias.data(), columns_, hidden_, FP32);
  }

  void run(const int32_t* ids, const int32_t* positions, const int32_t* segments, const int32_t* starts, int texts,
           int wanted, float* result) {
    if (!texts) return;
    const bool add_up = !in_fp32_ && (layers_.size() > 1 || !wanted);
    const Batch batch = {ids, positions, segments, starts, texts, starts[texts], wanted > 0, wanted == 2, add_up};
    const size_t tokens = batch.tokens;
    float* out = batch.logits ? first_.get(static_cast<size_t>(batch.texts) * hidden_) : result;
    state_.get(tokens * hidden_);
    context_.get(tokens * hidden_);
    qkv_.get(tokens * 3 * hidden_ * (in_fp32_ ? 4 : 2));
    int longest = 0;
    for (int text = 0; text < batch.texts; ++text) {
      longest = std::max(longest, batch.starts[text + 1] - batch.starts[text]);
    }
    for (Desk& desk : desks_) {  // allocated for all threads
      desk.grow(heads_, hidden_, intermediate_, longest);
      if (batch.logits) desk.logits.get(static_cast<size_t>(BLOCK) * columns_);
    }
    if (batch.add_up) {
      make(first_layer_.token, batch.ids, batch.tokens);
      make(first_layer_.position, batch.positions, batch.tokens);
      make(first_layer_.segment, batch.segments, batch.tokens);
    }
    const int last = static_cast<int>(layers_.size()) - 1;
    const int bundle = bundle_of(batch, longest);
    if (bundle) {
      pool_.run((batch.texts + bundle - 1) / bundle, [&](int task, int thread) {
        go_through(batch, task * bundle, std::min(bundle, batch.texts - task * bundle), desks_[thread]);
      });
    } else {
      blocks(batch.tokens, [&](int first, int rows, Desk& desk) { embed(batch, first, rows, desk); });
    }
    for (int i = bundle ? last : 0; i <= last; ++i) {
      const bool first_only = batch.first_only && i == last;
      if (first_only) {
        const int size = std::min(TEXTS, (batch.texts + pool_.threads() - 1) / pool_.threads());
        pool_.run((batch.texts + size - 1) / size, [&](int task, int thread) {
          attend_first(batch, task * size, std::min(size, batch.texts - task * size), desks_[thread]);
        });
      } else {
        pool_.run(batch.texts * heads_, [&](int task, int thread) {
          attend_text(batch, task / heads_, task % heads_, layers_[i].qkv.precision, desks_[thread]);
        });
      }
      blocks(first_only ? batch.texts : batch.tokens, [&](int first, int rows, Desk& desk) {
        finish(batch, i, first, rows, first_only, i == last ? out : nullptr, desk);
      });
    }
    if (!batch.logits) return;
    blocks(batch.texts, [&](int first, int rows, Desk& desk) { answer(out, first, rows, result, desk); });
  }

 private:
  // The number of rows of a block when `count` are divided evenly.
  static int block_of(int count, int threads) {
    const int parts = up_to(std::max(1, (count + BLOCK - 1) / BLOCK), threads);
    return up_to((count + parts - 1) / parts, ROWS);
  }

  // The number of texts of a bundle, which one thread takes through the layers, or 0: all threads work on one layer. A
  // multiple of ROWS, so that texts of equal length fill their tiles.
  int bundle_of(const Batch& batch, int longest) const {
    const int64_t weights = int64_t{hidden_} * (4 * hidden_ + 2 * intermediate_) * static_cast<int64_t>(layers_.size());
    if (longest > SHORT || weights > NEAR) return 0;
    const int size = ROWS * std::max(1, static_cast<int>(int64_t{BUNDLE} * batch.texts / batch.tokens) / ROWS);
    return batch.texts < size * LOTS * pool_.threads() ? 0 : size;
  }

  // Take texts through all layers except the last, so that each step's output is in this thread's cache for the next.
  void go_through(const Batch& batch, int first, int texts, Desk& desk) {
    const int begin = batch.starts[first], tokens = batch.starts[first + texts] - begin, size = block_of(tokens, 1);
    const auto each_block = [&](const auto& work) {
      for (int done = 0; done < tokens; done += size) work(begin + done, std::min(size, tokens - done));
    };
    each_block([&](int row, int rows) { embed(batch, row, rows, desk); });
    for (int i = 0; i + 1 < static_cast<int>(layers_.size()); ++i) {
      for (int text = first; text < first + texts; ++text) {
        for (int head = 0; head < heads_; ++head) attend_text(batch, text, head, layers_[i].qkv.precision, desk);
      }
      each_block([&](int row, int rows) { finish(batch, i, row, rows, false, nullptr, desk); });
    }
  }

  // Split `count` rows into blocks, equally many per thread, and call work(first, rows, desk).
  template <class Work>
  void blocks(int count, const Work& work) {
    if (!count) return;
    const int size = block_of(count, pool_.threads());
    pool_.run((count + size - 1) / size, [&](int task, int thread) {
      work(task * size, std::min(size, count - task * size), desks_[thread]);
    });
  }

  Rows inputs(Desk& desk) const {
    return {desk.bytes.data(), hidden_, desk.scale.data(), desk.low.data(), desk.mixed.data()};
  }

  // Compute the missing cached products of a table.
  void make(Summands& summands, const int32_t* ids, int count) {
    const int missing = static_cast<int>(summands.missing(ids, count).size());
    blocks(missing, [&](int first, int rows, Desk& desk) {
      summands.make(first_layer_.weight, first, rows, inputs(desk), desk.narrow.data());
    });
    summands.keep();
  }

  void embed(const Batch& batch, int first, int rows, Desk& desk) {
    float* sum = desk.narrow.data();
    const int width = 3 * hidden_;
    for (int r = 0; r < rows; ++r) {
      const int t = first + r;
      const float* token = token_ + static_cast<size_t>(batch.ids[t]) * hidden_;
      const float* segment = segment_ + static_cast<size_t>(batch.segments[t]) * hidden_;
      const float* position = position_ + static_cast<size_t>(batch.positions[t]) * hidden_;
      for (int i = 0; i < hidden_; ++i) sum[i] = token[i] + segment[i];
      if (batch.add_up) first_layer_.fetch(batch.ids[t], width);
      float* y = state_.data() + static_cast<size_t>(t) * hidden_;
      const float inverse = normalise(sum, position, embeddings_norm_, eps_, hidden_, y);
      if (!batch.add_up) continue;
      bf16* out = numbers<bf16>() + static_cast<size_t>(t) * width;
      first_layer_.add_up(batch.ids[t], batch.positions[t], batch.segments[t], inverse, width, out);
    }
    if (!batch.add_up) queries(batch, 0, first, rows, desk);
  }

  // Query, key and value of a block of rows, except where the last layer computes first tokens only.
  void queries(const Batch& batch, int number, int first, int rows, Desk& desk) {
    if (batch.first_only && number + 1 == static_cast<int>(layers_.size())) return;
    const Rows x = inputs(desk);
    const Linear& qkv = layers_[number].qkv;
    const size_t width = 3 * hidden_;
    for (int r = 0; r < rows; ++r) {
      round_row(state_.data() + static_cast<size_t>(first + r) * hidden_, x, r, qkv.precision);
    }
    product(qkv, 0, 3 * hidden_ / PANEL, x, rows, [&](int row, int n, __m512 y) {
      const size_t place = (first + row) * width + n;
      in_fp32_ ? store(numbers<float>() + place, y) : store(numbers<bf16>() + place, y);
    });
  }

  template <class Number>
  Number* numbers() const {
    return reinterpret_cast<Number*>(qkv_.data());
  }

  // The last layer's attention from the first tokens of `rows` texts only, see OneQuery.
  void attend_first(const Batch& batch, int first, int rows, Desk& desk) {
    const Rows x = inputs(desk);
    const Precision wanted = one_query_.values.precision;
    const Linear& qkv = layers_.back().qkv;
    const int width = hidden_ / heads_;
    float *query = desk.narrow.data(), *asked = desk.asked.data();
    for (int r = 0; r < rows; ++r) {
      round_row(state_.data() + static_cast<size_t>(batch.starts[first + r]) * hidden_, x, r, qkv.precision);
    }
    product(qkv, 0, hidden_ / PANEL, x, rows,
            [&](int row, int n, __m512 y) { store(query + static_cast<size_t>(row) * hidden_ + n, y); });
    for (int r = 0; r < rows; ++r) round_row(query + static_cast<size_t>(r) * hidden_, x, r, wanted);
    const auto of_head = [&](int row, int head) { return asked + static_cast<size_t>(row * heads_ + head) * hidden_; };
    for (int head = 0; head < heads_; ++head) {
      const Rows part = {x.bytes + head * width * bytes_of(wanted), hidden_, x.scale, x.low, x.mixed};
      product(one_query_.keys[head], 0, hidden_ / PANEL, part, rows,
              [&](int row, int n, __m512 y) { store(of_head(row, head) + n, y); });
    }
    for (int r = 0; r < rows; ++r) {
      const int begin = batch.starts[first + r], length = batch.starts[first + r + 1] - begin;
      const float* tokens = state_.data() + static_cast<size_t>(begin) * hidden_;
      mean_tokens(tokens, length, hidden_, heads_, of_head(r, 0), desk.scores.data());
    }
    for (int head = 0; head < heads_; ++head) {
      const int from = head * width, to = from + width;
      for (int r = 0; r < rows; ++r) round_row(of_head(r, head), x, r, wanted);
      product(one_query_.values, from / PANEL, (to + PANEL - 1) / PANEL, x, rows, [&](int row, int n, __m512 y) {
        if (n >= from && n < to) store(context_.data() + static_cast<size_t>(first + row) * hidden_ + n, y);
      });
    }
  }

  void attend_text(const Batch& batch, int text, int head, Precision precision, Desk& desk) {
    switch (precision) {
      case INT8: attend_int8(head_of<Bf16>(batch, text, head), desk.attention_int8); break;
      case BF16: attend(head_of<Bf16>(batch, text, head), desk.attention); break;
      case FP32: attend(head_of<Fp32>(batch, text, head), desk.attention); break;
    }
  }

  template <class Kind>
  Head<Kind, float> head_of(const Batch& batch, int text, int head) const {
    const int first = batch.starts[text], length = batch.starts[text + 1] - first, width = hidden_ / heads_;
    const auto* q = numbers<typename Kind::Number>() + static_cast<size_t>(first) * 3 * hidden_ + head * width;
    float* out = context_.data() + static_cast<size_t>(first) * hidden_ + head * width;
    return {q,      q + hidden_,       q + 2 * hidden_, 3 * hidden_, 3 * hidden_, length,
            length, up_to(length, 16), width,           out,         hidden_,     nullptr, 0};
  }

  // The rest of a layer after attention, and the next layer's queries, keys and values, for a block of rows; the last
  // layer writes to `out`.
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
    }
    if (!out) queries(batch, number + 1, first, rows, desk);
  }

  // Logits of a block of texts, from the vectors of their first tokens.
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

  bool in_fp32_;  // all layers and attention
  std::vector<Layer> layers_;
  FirstLayer first_layer_;
  OneQuery one_query_;
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

// Returns the interface version, 4, where the processor has the instructions; native_encoder.py compares it.
int filbert_supported() {
  return able() ? 4 : 0;
}

// Widths are multiples of 64, those of heads of 32. Null where memory runs out.
void* filbert_new(int layers, int hidden, int heads, int intermediate, float eps, int in_fp32, int threads) try {
  return new Encoder(layers, hidden, heads, intermediate, eps, in_fp32 != 0, threads);
} catch (const std::bad_alloc&) {
  return nullptr;
}

// Not freed in a forked process, where the threads do not exist and cannot be joined.
void filbert_free(void* encoder) {
  Encoder* mine = static_cast<Encoder*>(encoder);
  if (!mine->forked()) delete mine;
}

// The following functions return 0 where memory runs out.

// The three tables, with `counts` rows, are not copied and must outlive the encoder; everything else is copied.
// To be called before `filbert_linear`.
int filbert_embeddings(void* encoder, const float* token, const float* position, const float* segment,
                       const int32_t* counts, const float* weight, const float* bias) try {
  static_cast<Encoder*>(encoder)->embeddings(token, position, segment, counts, weight, bias);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// `part`: 0 query, key and value, 1 out, 2 up, 3 down. A layer's parts have one precision, and all layers fp32 or none.
int filbert_linear(void* encoder, int layer, int part, const float* weight_NK, const float* bias_N, int n, int k,
                   int precision) try {
  Encoder* mine = static_cast<Encoder*>(encoder);
  const Precision wanted = static_cast<Precision>(precision);
  Layer& l = mine->layer(layer);
  Linear* parts[] = {nullptr, &l.out, &l.up, &l.down};
  part ? parts[part]->set(weight_NK, bias_N, n, k, wanted) : mine->attention(layer, weight_NK, bias_N, wanted);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// `part`: 0 after attention, 1 after the feed-forward network.
int filbert_norm(void* encoder, int layer, int part, const float* weight, const float* bias, int n) try {
  Layer& l = static_cast<Encoder*>(encoder)->layer(layer);
  (part ? l.norm : l.attention_norm).set(weight, bias, n);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// The head of a classifier, needed for logits.
int filbert_head(void* encoder, const float* pooler_DD, const float* pooler_D, const float* last_CD,
                 const float* last_C, int classes) try {
  static_cast<Encoder*>(encoder)->head(pooler_DD, pooler_D, last_CD, last_C, classes);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

// Packed texts → hidden_TD (`wanted` 0), hidden_BD of the first tokens (1), or logits_BC (2). The caller must make one call
// at a time per encoder, with ids, positions and segments within the tables.
int filbert_run(void* encoder, const int32_t* ids, const int32_t* positions, const int32_t* segments,
                const int32_t* starts, int texts, int wanted, float* out) try {
  static_cast<Encoder*>(encoder)->run(ids, positions, segments, starts, texts, wanted, out);
  return 1;
} catch (const std::bad_alloc&) {
  return 0;
}

}  // extern "C"

#else

extern "C" int filbert_supported() { return 0; }

#endif
