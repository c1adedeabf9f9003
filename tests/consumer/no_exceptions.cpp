// SPDX-License-Identifier: BSL-1.0
// An embedder without exceptions and RTTI: the consumer's program, compiled so.
#if defined(__cpp_exceptions) || defined(__cpp_rtti)
#error "compile this with -fno-exceptions -fno-rtti"
#endif
#include "project/main.cpp"
