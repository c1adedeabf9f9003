// SPDX-License-Identifier: BSL-1.0
// libFuzzer's entry: the target is chosen when it is compiled, by -DHALFPROXY_FUZZ_TARGET=fuzz_parse or another function of these headers.
#include "tests/fuzz/engine_target.hpp"
#include "tests/fuzz/fragments_target.hpp"
#include "tests/fuzz/sync_target.hpp"
#include "tests/fuzz/targets.hpp"

#include <cstdio>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    char const* const broken = halfproxy::test::HALFPROXY_FUZZ_TARGET({data, size});
    if (broken != nullptr) {
        std::fprintf(stderr, "does not hold: %s\n", broken);
        __builtin_trap();
    }
    return 0;
}
