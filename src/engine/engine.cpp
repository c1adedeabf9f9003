// SPDX-License-Identifier: BSL-1.0
// The default engine, compiled once for everybody who links halfproxy::compiled.
#include <halfproxy/engine/engine.hpp>

template class halfproxy::engine<halfproxy::default_policies>;
