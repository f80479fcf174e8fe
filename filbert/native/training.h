// The training library: all that lies between products, there and back, in numbers of one `Kind`. training_bf16.cpp and
// training_fp32.cpp each compile it for their processors.
//
// The threads are OpenMP's: with gcc they are torch's own, which was loaded first. A set beside them would wait for them.

#pragma once

namespace {

using Number = Kind::Number;

}  // namespace

#include "training_attention.h"
#include "training_gelu.h"
#include "training_norm.h"
#include "training_vocabulary.h"
