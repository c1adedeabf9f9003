// SPDX-License-Identifier: BSL-1.0
// The engine with services, compiled once for all tests.
#include "tests/support/services.hpp"

template class halfproxy::engine<halfproxy::test::serving<>>;
