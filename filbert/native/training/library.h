// The training library: everything between matrix products, forward and backward, in numbers of one `Kind`. bf16.cpp and
// fp32.cpp each compile it for their processors.
//
// The threads are OpenMP's: with gcc they are torch's own, which was loaded first. A set beside them would wait for them.

#pragma once

namespace {

using Number = Kind::Number;

}  // namespace

#include "attention.h"
#include "gelu.h"
#include "norm.h"
#include "vocabulary.h"
