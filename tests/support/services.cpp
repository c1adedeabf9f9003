// SPDX-License-Identifier: BSL-1.0
#include "tests/support/services.hpp"

template class halfproxy::engine<halfproxy::test::serving<>>;
