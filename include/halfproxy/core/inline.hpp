// SPDX-License-Identifier: BSL-1.0
// Two words to the optimizer, for the packet path: this step belongs into its caller, that one rarely runs.
#pragma once

// The established packet's path is a chain of small named steps. Left alone, g++ 12 makes a function of each and
// spends more instructions on saving registers than on the steps: measured in bench/README.md.
#define HALFPROXY_ALWAYS_INLINE [[gnu::always_inline]] inline

/// Kept out of its caller, so that the common case stays small.
#define HALFPROXY_RARE [[gnu::noinline, gnu::cold]] inline
