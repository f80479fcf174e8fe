// The training library: the operations between matrix products, forward and backward, in one number format (`Kind`).
// bf16.cpp and fp32.cpp each compile it for their processors.
//
// The threads are OpenMP's: with gcc they are torch's own, which is loaded first. Other threads would compete with them.

#pragma once

namespace {

using Number = Kind::Number;

}  // namespace

#include "attention.h"
#include "gelu.h"
#include "norm.h"
#include "vocabulary.h"
