// Process rows and sum their columns, such as the gradient of a bias, in several threads.

#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace {

constexpr int64_t LOT = 128;  // rows summed together, whichever thread does it, so that the bits do not depend on the threads

// Call work(row, sums) for every row, which adds to `sums`, and add all sums to `total`; both have `columns` numbers.
// Returns 0 where memory runs out.
template <class Work>
bool with_columns(int64_t rows, int64_t columns, int threads, float* total, const Work& work) {
  const int64_t lots = (rows + LOT - 1) / LOT;
  try {
    std::vector<float> sums(static_cast<size_t>(lots) * columns);
    #pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t lot = 0; lot < lots; ++lot)
      for (int64_t row = lot * LOT; row < rows && row < (lot + 1) * LOT; ++row) work(row, sums.data() + lot * columns);
    for (int64_t lot = 0; lot < lots; ++lot)
      for (int64_t i = 0; i < columns; ++i) total[i] += sums[static_cast<size_t>(lot) * columns + i];
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
}

}  // namespace
