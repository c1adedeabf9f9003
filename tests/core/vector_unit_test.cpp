// SPDX-License-Identifier: BSL-1.0
// What the processor is said to have, beside what the kernel says of it.
#include <halfproxy/core/vector_unit.hpp>

#include <doctest/doctest.h>

#include <fstream>
#include <string>

using namespace halfproxy;

TEST_CASE("the vector unit is the widest that the kernel lists, and the same at every question") {
    std::ifstream cpuinfo("/proc/cpuinfo");
    std::string line, flags;
    while (std::getline(cpuinfo, line) && flags.empty())
        if (line.rfind("flags", 0) == 0) flags = line + ' ';
    vector_unit const unit = widest_vector_unit();
    CHECK(unit == widest_vector_unit());
    if (flags.empty()) return;  // another architecture, or no such file
    auto const listed = [&](char const* name) { return flags.find(" " + std::string(name) + " ") != std::string::npos; };
    CHECK(unit == (listed("avx512f") ? vector_unit::avx512 : listed("avx2") ? vector_unit::avx2 : vector_unit::none));
}
