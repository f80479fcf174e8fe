// The training library in fp32, for processors with AVX2.

#if defined(__AVX2__) && defined(_OPENMP)

#include "../shared/lanes.h"

namespace {

using Kind = Fp32;

// Whether this processor has the instructions.
inline bool able() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

}  // namespace

#include "library.h"

#else

extern "C" int filbert_training_interface() { return 0; }

#endif
