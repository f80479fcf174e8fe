// The training library in bf16, for processors with AVX-512 and its instructions for bf16.

#if defined(__AVX512BF16__) && defined(_OPENMP)

#include "../shared/simd.h"

namespace {

using Kind = Bf16;

}  // namespace

#include "library.h"

#else

extern "C" int filbert_training_interface() { return 0; }

#endif
