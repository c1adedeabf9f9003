// SPDX-License-Identifier: BSL-1.0
// Drop reasons: the list, its names and its sentences agree, and every name is its own.
#include <halfproxy/core/verdict.hpp>

#include <doctest/doctest.h>

#include <cctype>
#include <set>
#include <string>

using namespace halfproxy;

TEST_CASE("every reason has a name of its own in snake_case and a sentence without a full stop") {
    std::set<std::string_view> names, sentences;
    for (drop_reason_text const& text : drop_reason_texts) {
        names.insert(text.name);
        sentences.insert(text.sentence);
        CHECK(!text.sentence.empty());
        CHECK(text.sentence.back() != '.');
        for (char const c : text.name)
            CHECK((std::islower(static_cast<unsigned char>(c)) || std::isdigit(static_cast<unsigned char>(c)) || c == '_'));
    }
    CHECK(names.size() == drop_reason_count);
    CHECK(sentences.size() == drop_reason_count);
}

TEST_CASE("a reason's value is its place in the list") {
    CHECK(static_cast<int>(drop_reason::none) == 0);
    CHECK(to_string(drop_reason::none) == "none");
    CHECK(to_string(drop_reason::cookie_invalid) == "cookie_invalid");
    CHECK(static_cast<std::size_t>(drop_reason::outbox_full) < drop_reason_count);
    CHECK(to_string(static_cast<drop_reason>(drop_reason_count - 1)) == drop_reason_texts.back().name);
}
