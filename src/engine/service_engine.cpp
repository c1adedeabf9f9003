// SPDX-License-Identifier: BSL-1.0
// The engine with virtual services, compiled once for everybody who links halfproxy::compiled.
#include <halfproxy/engine/service_engine.hpp>

template class halfproxy::engine<halfproxy::service_policies>;
