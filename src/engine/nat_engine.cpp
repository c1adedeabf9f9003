// SPDX-License-Identifier: BSL-1.0
// The engine with address translation, compiled once for everybody who links halfproxy::compiled.
#include <halfproxy/engine/address_plan.hpp>

template class halfproxy::engine<halfproxy::policies<halfproxy::admit_by_guard, halfproxy::address_plan, halfproxy::no_observer>>;
