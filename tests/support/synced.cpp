// SPDX-License-Identifier: BSL-1.0
// The engine of synced.hpp, compiled once for all test programs.
#include "tests/support/synced.hpp"

template class halfproxy::engine<halfproxy::test::synced_policies>;
