// SPDX-License-Identifier: BSL-1.0
// The flow table against a model, with hashes from good to hostile, and at its limits.
#include <halfproxy/track/flow_table.hpp>

#include <halfproxy/core/random.hpp>

#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <map>
#include <new>
#include <set>
#include <utility>
#include <vector>

using namespace halfproxy;

namespace {

using test_key = std::uint64_t;

struct two_way_record {
    std::array<test_key, 2> keys{};
    std::uint64_t payload = 0;

    [[nodiscard]] bool matches(test_key const& k, unsigned direction) const noexcept { return keys[direction] == k; }
    [[nodiscard]] test_key key(unsigned direction) const noexcept { return keys[direction]; }
};

struct one_way_record {
    static constexpr unsigned directions = 1;
    test_key only = 0;

    [[nodiscard]] bool matches(test_key const& k, unsigned) const noexcept { return only == k; }
    [[nodiscard]] test_key key(unsigned) const noexcept { return only; }
};

struct good_hash {
    std::uint64_t seed = 1;
    std::uint64_t operator()(test_key const& k) const noexcept { return split_mix64{k ^ seed}(); }
};
// What a stranger who knew the seed could do.
struct one_bucket_hash {
    std::uint64_t operator()(test_key const& k) const noexcept { return split_mix64{k}() & 0xffffu; }
};
struct one_tag_hash {
    std::uint64_t operator()(test_key const& k) const noexcept { return split_mix64{k}() & ~std::uint64_t{0xffffffff}; }
};
struct constant_hash {
    std::uint64_t operator()(test_key const&) const noexcept { return 0; }
};
// Fifteen values in all: equal hashes, overflow and displacement all the time.
struct few_values_hash {
    std::uint64_t operator()(test_key const& k) const noexcept {
        return (k % 5) << 62 | split_mix64{k % 3}() % 3 << 20 | (k % 3 + 7);
    }
};

template <class Hash>
using two_way_table = flow_table<test_key, two_way_record, Hash>;

// The keys of flow `id` never meet those of another.
[[nodiscard]] constexpr test_key client_key(std::uint64_t id) { return 2 * id; }
[[nodiscard]] constexpr test_key server_key(std::uint64_t id) { return 2 * id + 1; }

template <class Table>
insert_result add_flow(Table& table, std::uint64_t id) {
    insert_result const r = table.insert(client_key(id), server_key(id));
    if (r) table.record(r.handle) = two_way_record{{client_key(id), server_key(id)}, id};
    return r;
}

template <class Table>
bool finds(Table const& table, std::uint64_t id) {
    flow_handle const client = table.find(client_key(id));
    flow_handle const server = table.find(server_key(id));
    return client && server && client.number() == server.number() && client.direction() == 0 &&
           server.direction() == 1 && table.record(client).payload == id;
}

// RC_ASSERT at every comparison triples the compile time of this file.
void expect(bool holds, char const* what) {
    if (!holds) RC_FAIL(what);
}

// A table beside an ordered map of id to record number; every step is compared.
template <class Hash>
struct table_with_model {
    two_way_table<Hash> table;
    std::uint64_t ids;
    std::map<std::uint64_t, std::uint32_t> model{};

    void insert(std::uint64_t id) {
        std::uint64_t const before = table.generation();
        auto const known = model.find(id);
        insert_result const r = add_flow(table, id);
        if (known != model.end()) {
            expect(r.status == insert_status::exists, "a known key was taken as new");
            expect(r.handle.number() == known->second, "another record answers for a known key");
        } else if (model.size() == table.capacity()) {
            expect(r.status == insert_status::full, "a full table did not say so");
        } else {
            expect(r || r.status == insert_status::index_full, "a new key was refused");
            if (r) model[id] = r.handle.number();
        }
        expect(table.generation() == before + (r ? 1u : 0u), "generation counts inserts");
    }
    void erase(std::uint64_t id) {
        expect(table.erase(table.find(server_key(id))) == model.contains(id), "erase tells whether it was there");
        model.erase(id);
    }
    void compare() const {
        expect(table.size() == model.size(), "size");
        for (std::uint64_t i = 0; i < ids; ++i) {
            expect(finds(table, i) == model.contains(i), "both keys find the flow if it is there");
            expect(static_cast<bool>(table.find(client_key(i))) == model.contains(i), "nothing is found if it is not");
        }
    }
    void compare_and_empty() {
        std::map<std::uint64_t, std::uint32_t> seen;
        table.for_each([&](std::uint32_t number, two_way_record& r) {
            expect(seen.emplace(r.payload, number).second, "for_each visits a flow once");
        });
        expect(seen == model, "for_each visits every flow");
        table.for_each([&](std::uint32_t number, two_way_record&) { expect(table.erase(number), "erase"); });
        expect(table.size() == 0 && table.overflowed() == 0, "an empty table counts no overflow");
    }
};

using steps = std::vector<std::pair<bool, std::uint64_t>>;  // insert or erase, which id

template <class Hash>
void behaves_like_a_map(std::uint32_t capacity, std::uint64_t ids, steps const& random_steps) {
    table_with_model<Hash> pair{two_way_table<Hash>(capacity), ids};
    for (auto const& [insert, number] : random_steps) {
        insert ? pair.insert(number % ids) : pair.erase(number % ids);
        pair.compare();
    }
    pair.compare_and_empty();
}

}  // namespace

TEST_CASE("a flow table behaves like a map under any sequence of inserts, erases and lookups") {
    CHECK(rc::check("good hash, small", [](steps const& s) { behaves_like_a_map<good_hash>(8, 12, s); }));
    CHECK(rc::check("good hash, larger", [](steps const& s) { behaves_like_a_map<good_hash>(40, 60, s); }));
}

TEST_CASE("a flow table stays right when every key falls into one bucket, has one tag, or has one hash") {
    CHECK(rc::check("one bucket", [](steps const& s) { behaves_like_a_map<one_bucket_hash>(30, 40, s); }));
    CHECK(rc::check("one tag", [](steps const& s) { behaves_like_a_map<one_tag_hash>(30, 40, s); }));
    CHECK(rc::check("one hash", [](steps const& s) { behaves_like_a_map<constant_hash>(30, 40, s); }));
    CHECK(rc::check("fifteen hashes", [](steps const& s) { behaves_like_a_map<few_values_hash>(30, 40, s); }));
}

TEST_CASE("with one hash for all keys the two buckets fill up, and the flow that finds no room leaves no trace") {
    two_way_table<constant_hash> table(64);
    std::uint64_t id = 0;
    while (add_flow(table, id)) ++id;
    std::uint64_t const generation = table.generation();
    CHECK(add_flow(table, id).status == insert_status::index_full);
    CHECK(id >= detail::bucket_entries / 2);
    CHECK(id <= detail::bucket_entries);
    CHECK(table.size() == id);
    CHECK(table.generation() == generation);
    CHECK_FALSE(table.find(client_key(id)));
    CHECK_FALSE(table.find(server_key(id)));
    for (std::uint64_t i = 0; i < id; ++i) CHECK(finds(table, i));
    CHECK(table.erase(table.find(client_key(0))));
    CHECK(add_flow(table, id));
    for (std::uint64_t i = 1; i <= id; ++i) CHECK(finds(table, i));
}

TEST_CASE("with a good hash a table fills to its capacity and stays insertable at it while flows come and go") {
    constexpr std::uint32_t capacity = 20'000;
    two_way_table<good_hash> table(capacity);
    for (std::uint64_t id = 0; id < capacity; ++id) REQUIRE(add_flow(table, id));
    CHECK(add_flow(table, capacity).status == insert_status::full);
    split_mix64 random{7};
    std::vector<std::uint64_t> live(capacity);
    for (std::uint32_t i = 0; i < capacity; ++i) live[i] = i;
    for (std::uint64_t id = capacity; id < 10 * capacity; ++id) {
        std::uint64_t& victim = live[random.below(capacity)];
        REQUIRE(table.erase(table.find(server_key(victim))));
        REQUIRE(add_flow(table, id));
        victim = id;
    }
    for (std::uint64_t const id : live) REQUIRE(finds(table, id));
    CHECK(table.size() == capacity);
    CHECK(table.peak() == capacity);
    CHECK(table.overflowed() < 2 * capacity / 25);  // under 4 % of the entries cost a second bucket, after any churn
    for (std::uint64_t const id : live) REQUIRE(table.erase(table.find(client_key(id))));
    CHECK(table.overflowed() == 0);
    CHECK(table.size() == 0);
    CHECK(table.peak() == capacity);
}

TEST_CASE("tables of 0, 1, 2 and 7 records fill to exactly that and empty again") {
    for (std::uint32_t const capacity : {0u, 1u, 2u, 7u}) {
        CAPTURE(capacity);
        two_way_table<good_hash> table(capacity);
        CHECK(table.capacity() == capacity);
        for (int round = 0; round < 3; ++round) {
            for (std::uint64_t id = 0; id < capacity; ++id) CHECK(add_flow(table, id));
            CHECK(add_flow(table, 100).status == insert_status::full);
            CHECK(table.sample(10, [](std::uint32_t, two_way_record&) { return true; }) == capacity);
            for (std::uint64_t id = 0; id < capacity; ++id) CHECK(table.erase(table.find(client_key(id))));
            CHECK(table.size() == 0);
            CHECK_FALSE(table.erase(std::uint32_t{0}));
        }
    }
}

TEST_CASE("a table says what it allocates: at most 24 bytes of index per flow, the records, and a bit each") {
    for (std::uint32_t const capacity : {64u, 1000u, 100'000u, 1'000'000u}) {
        two_way_table<good_hash> const table(capacity);
        CHECK(table.index_bytes() <= std::size_t{capacity} * 24 + 64);
        CHECK(table.memory_bytes() >= std::size_t{capacity} * sizeof(two_way_record) + table.index_bytes());
        CHECK(table.memory_bytes() <= std::size_t{capacity} * (sizeof(two_way_record) + 24) + capacity / 8 + 512);
    }
}

TEST_CASE("a burst finds what single lookups find, hits and misses and any length, in three steps or in one call") {
    constexpr std::uint32_t capacity = 3000;
    two_way_table<good_hash> table(capacity);
    for (std::uint64_t id = 0; id < capacity; ++id) REQUIRE(add_flow(table, id));
    split_mix64 random{3};
    for (std::size_t const length : {0u, 1u, 63u, 64u, 65u, 200u}) {
        std::vector<test_key> keys(length);
        std::vector<std::uint64_t> hashes(length);
        std::vector<flow_handle> results(length, flow_handle{5, 1});
        for (std::size_t i = 0; i < length; ++i) {
            keys[i] = random.below(4 * capacity);  // half of them absent
            hashes[i] = table.hash(keys[i]);
        }
        table.find_burst(keys, hashes, results);
        for (std::size_t i = 0; i < length; ++i) {
            CHECK(results[i] == table.find(keys[i]));
            CHECK(static_cast<bool>(results[i]) == (keys[i] < 2 * capacity));
            CHECK(table.confirm(keys[i], hashes[i], table.candidate(hashes[i])) == results[i]);
        }
    }
}

TEST_CASE("a candidate with the right tag and the wrong key is not confirmed; the right record behind it is found") {
    two_way_table<constant_hash> table(8);
    for (std::uint64_t id = 0; id < 4; ++id) REQUIRE(add_flow(table, id));
    flow_handle const candidate = table.candidate(0);
    REQUIRE(candidate);
    for (std::uint64_t id = 0; id < 4; ++id)
        CHECK(table.record(table.confirm(server_key(id), 0, candidate)).payload == id);
    CHECK_FALSE(table.confirm(client_key(77), 0, candidate));
    std::array<test_key, 2> const keys{server_key(3), client_key(77)};
    std::array<std::uint64_t, 2> const hashes{};
    std::array<flow_handle, 2> results{};
    table.find_burst(keys, hashes, results);
    CHECK(table.record(results[0]).payload == 3);
    CHECK_FALSE(results[1]);
}

TEST_CASE("a handle stays valid while other flows come and go, and generation counts every change") {
    two_way_table<few_values_hash> table(40);
    flow_handle const kept = add_flow(table, 0).handle;
    std::uint64_t const generation = table.generation();
    for (std::uint64_t id = 1; id < 20; ++id) add_flow(table, id);
    std::uint64_t const inserted = table.size() - 1u;
    for (std::uint64_t id = 1; id < 20; ++id) table.erase(table.find(client_key(id)));
    CHECK(table.record(kept).payload == 0);
    CHECK(table.find(client_key(0)) == kept);
    CHECK(table.generation() == generation + 2 * inserted);
}

TEST_CASE("a key of either direction that is taken keeps a new flow out") {
    two_way_table<good_hash> table(8);
    flow_handle const first = add_flow(table, 1).handle;
    insert_result const same_client = table.insert(client_key(1), 1000);
    CHECK(same_client.status == insert_status::exists);
    CHECK(same_client.handle == first);
    insert_result const same_server = table.insert(1000, server_key(1));
    CHECK(same_server.status == insert_status::exists);
    CHECK(same_server.handle == flow_handle{first.number(), 1});
    CHECK(table.size() == 1);
    CHECK_FALSE(table.find(1000));
}

TEST_CASE("a flow whose two keys are equal is found as direction 0 and erased whole") {
    two_way_table<good_hash> table(4);
    insert_result const r = table.insert(9, 9);
    REQUIRE(r);
    table.record(r.handle).keys = {9, 9};
    CHECK(table.find(9) == flow_handle{r.handle.number(), 0});
    CHECK(table.erase(r.handle));
    CHECK_FALSE(table.find(9));
    CHECK(table.size() == 0);
}

TEST_CASE("a record with one direction takes one index entry and 12 bytes of index") {
    flow_table<test_key, one_way_record, good_hash> table(1600);
    CHECK(table.index_bytes() == 1600 * 12);
    for (test_key k = 0; k < 1600; ++k) {
        insert_result const r = table.insert(k, k + 1);  // the second key means nothing here
        REQUIRE(r);
        table.record(r.handle).only = k;
    }
    for (test_key k = 0; k < 1600; ++k) REQUIRE(table.record(table.find(k)).only == k);
    CHECK_FALSE(table.find(1600));
    for (test_key k = 0; k < 1600; ++k) REQUIRE(table.erase(table.find(k)));
    CHECK(table.overflowed() == 0);
}

TEST_CASE("erasing a record whose key was changed, or a number not in use, is refused and changes nothing") {
    two_way_table<good_hash> table(4);
    flow_handle const h = add_flow(table, 1).handle;
    table.record(h).keys[1] = 12345;
    CHECK_FALSE(table.erase(h));
    CHECK(table.size() == 1);
    CHECK(table.find(client_key(1)) == h);
    table.record(h).keys[1] = server_key(1);
    CHECK(table.erase(h));
    CHECK_FALSE(table.erase(h));
    CHECK_FALSE(table.erase(flow_handle{}));
    CHECK_FALSE(table.erase(std::uint32_t{4}));
    CHECK(table.size() == 0);
}

TEST_CASE("a new record is value-initialised, whatever its predecessor held") {
    two_way_table<good_hash> table(1);
    add_flow(table, 77);
    table.erase(std::uint32_t{0});
    insert_result const r = table.insert(1, 2);
    REQUIRE(r);
    CHECK(table.record(r.handle).payload == 0);
    CHECK(table.record(r.handle).keys == std::array<test_key, 2>{});
}

TEST_CASE("for_each visits every record once although the visitor erases and inserts") {
    two_way_table<good_hash> table(300);
    for (std::uint64_t id = 0; id < 300; ++id) REQUIRE(add_flow(table, id));
    std::multiset<std::uint64_t> seen;
    table.for_each([&](std::uint32_t number, two_way_record& r) {
        std::uint64_t const id = r.payload;
        seen.insert(id);
        CHECK(table.erase(number));
        if (id % 2 == 0) CHECK(add_flow(table, id + 1000).handle.number() == number);
    });
    CHECK(seen.size() == 300);
    for (std::uint64_t id = 0; id < 300; ++id) {
        CHECK(seen.count(id) == 1);
        CHECK(finds(table, id + 1000) == (id % 2 == 0));
    }
}

TEST_CASE("the clock hand comes round to every record before any twice, in bounded steps") {
    two_way_table<good_hash> table(1000);
    for (std::uint64_t id = 0; id < 1000; ++id) REQUIRE(add_flow(table, id));
    for (std::uint64_t id = 0; id < 1000; ++id)
        if (id % 10 != 3) table.erase(table.find(client_key(id)));
    std::map<std::uint64_t, int> visits;
    std::uint32_t total = 0;
    while (total < 100) {
        std::uint32_t const visited = table.sample(7, [&](std::uint32_t, two_way_record& r) { return ++visits[r.payload], true; });
        REQUIRE(visited > 0);
        REQUIRE(visited <= 7);
        total += visited;
        if (total + 7 > 100) break;
    }
    for (auto const& [id, count] : visits) CHECK(count == 1);
    CHECK(visits.size() == total);
}

TEST_CASE("the clock hand stops when told, takes an empty table, and survives visitors that erase") {
    two_way_table<good_hash> table(200);
    CHECK(table.sample(5, [](std::uint32_t, two_way_record&) { return true; }) == 0);
    for (std::uint64_t id = 0; id < 200; ++id) REQUIRE(add_flow(table, id));
    CHECK(table.sample(50, [](std::uint32_t, two_way_record&) { return false; }) == 1);
    std::uint32_t erased = 0;
    while (table.size() != 0)
        erased += table.sample(16, [&](std::uint32_t number, two_way_record&) { return table.erase(number); });
    CHECK(erased == 200);
}

namespace {

struct memory_log {
    int allocations = 0;
    int live = 0;
    std::size_t bytes = 0;
    std::size_t alignment = 0;
};

struct logged_memory {
    memory_log* log;
    bool refuse = false;

    void* allocate(std::size_t bytes, std::size_t alignment) {
        if (refuse) throw std::bad_alloc();
        *log = {log->allocations + 1, log->live + 1, bytes, alignment};
        void* p = ::operator new(bytes, std::align_val_t{alignment});
        std::memset(p, 0xa5, bytes);  // a table must not hope for zeroes
        return p;
    }
    void deallocate(void* p, std::size_t bytes, std::size_t alignment) noexcept {
        --log->live;
        if (bytes == log->bytes && alignment == log->alignment) ::operator delete(p, std::align_val_t{alignment});
    }
};

int counted_alive = 0;

struct counted_record : two_way_record {
    counted_record() noexcept { ++counted_alive; }
    counted_record(counted_record const&) = delete;
    counted_record& operator=(counted_record const&) = delete;
    ~counted_record() { --counted_alive; }
};

}  // namespace

TEST_CASE("all memory is asked for once, in the constructor, and given back as it was taken") {
    memory_log log;
    {
        flow_table<test_key, two_way_record, good_hash, logged_memory> table(500, {}, {&log});
        CHECK(log.bytes == table.memory_bytes());
        for (std::uint64_t id = 0; id < 500; ++id) REQUIRE(add_flow(table, id));
        for (std::uint64_t id = 0; id < 500; ++id) REQUIRE(finds(table, id));
        table.for_each([&](std::uint32_t number, two_way_record&) { table.erase(number); });
        CHECK(log.allocations == 1);
    }
    CHECK(log.live == 0);
}

TEST_CASE("memory that is refused makes the constructor throw and leaves nothing behind") {
    memory_log log;
    using table = flow_table<test_key, two_way_record, good_hash, logged_memory>;
    CHECK_THROWS_AS(table(500, {}, {&log, true}), std::bad_alloc);
    CHECK(log.live == 0);
}

TEST_CASE("records are constructed on insert and destroyed on erase, the rest with the table") {
    {
        flow_table<test_key, counted_record, good_hash> table(100);
        CHECK(counted_alive == 0);
        for (std::uint64_t id = 0; id < 100; ++id) {
            insert_result const r = table.insert(client_key(id), server_key(id));
            REQUIRE(r);
            table.record(r.handle).keys = {client_key(id), server_key(id)};
        }
        CHECK(counted_alive == 100);
        for (std::uint64_t id = 0; id < 40; ++id) REQUIRE(table.erase(table.find(client_key(id))));
        CHECK(counted_alive == 60);
    }
    CHECK(counted_alive == 0);
}

TEST_CASE("the portable and the vector tag match agree on every bucket") {
    split_mix64 random{11};
    for (int round = 0; round < 20'000; ++round) {
        detail::index_bucket b;
        for (auto& tag : b.tags) tag = static_cast<std::uint16_t>(random.below(4));
        // What stands behind the tags must not be taken for one.
        b.overflow = static_cast<std::uint16_t>(random.below(4));
        b.displaced = static_cast<std::uint16_t>(random.below(4));
        b.values.fill(random.below(4) * 0x10001u);
        auto const wanted = static_cast<std::uint16_t>(random.below(4));
        std::uint32_t expected = 0;
        for (unsigned i = 0; i < detail::bucket_entries; ++i)
            if (b.tags[i] == wanted) expected |= 1u << i;
        REQUIRE(detail::match_tags_portable(b, wanted) == expected);
        REQUIRE(detail::match_tags(b, wanted) == expected);
    }
    detail::index_bucket b;
    b.tags.fill(0x8000);  // signed comparison or saturation would lose these
    b.tags[3] = 0xffff;
    CHECK(detail::match_tags(b, 0xffff) == 1u << 3);
    CHECK(detail::match_tags(b, 0x8000) == (0x3ffu & ~(1u << 3)));
}

TEST_CASE("an entry that overflowed is counted at its first bucket and found until it is removed") {
    std::vector<detail::index_bucket> memory(16);
    detail::flow_index index(memory.data(), memory.size());
    std::uint64_t const hash = std::uint64_t{5} << 60 | 0x1234;
    for (std::uint32_t v = 0; v < 2 * detail::bucket_entries; ++v) REQUIRE(index.place(hash, v));
    CHECK(index.overflowed() == detail::bucket_entries);
    CHECK_FALSE(index.place(hash, 100));
    for (std::uint32_t v = 0; v < 2 * detail::bucket_entries; ++v) CHECK(index.contains(hash, v));
    CHECK_FALSE(index.contains(hash, 100));
    for (std::uint32_t v = 0; v < detail::bucket_entries; ++v) index.remove(hash, v);
    CHECK(index.overflowed() == detail::bucket_entries);
    for (std::uint32_t v = detail::bucket_entries; v < 2 * detail::bucket_entries; ++v) CHECK(index.contains(hash, v));
    for (std::uint32_t v = detail::bucket_entries; v < 2 * detail::bucket_entries; ++v) index.remove(hash, v);
    CHECK(index.overflowed() == 0);
}

TEST_CASE("a full bucket makes room by moving an entry to its other bucket, and that entry is still found") {
    std::vector<detail::index_bucket> memory(64);
    detail::flow_index index(memory.data(), memory.size());
    // Tags differ, first bucket the same: second buckets differ. Thirty entries of one first bucket are six times a bucket's room
    // for the last ones, whose own second bucket is taken by entries of the same tag.
    std::uint64_t const home = std::uint64_t{9} << 58;
    std::uint32_t value = 0;
    for (std::uint64_t tag = 1; tag <= 3; ++tag)
        for (unsigned i = 0; i < detail::bucket_entries; ++i) REQUIRE(index.place(home | tag, value++));
    for (std::uint32_t v = 0; v < value; ++v) CHECK(index.contains(home | (v / detail::bucket_entries + 1), v));
    CHECK(index.overflowed() == 2 * detail::bucket_entries);
    REQUIRE(index.place(home | 2, value));  // both of tag 2's buckets are full: only a move makes room
    CHECK(index.contains(home | 2, value));
    for (std::uint32_t v = 0; v < value; ++v) CHECK(index.contains(home | (v / detail::bucket_entries + 1), v));
    CHECK(index.overflowed() == 2 * detail::bucket_entries + 1);
    // Who lives in its second bucket is marked there: otherwise moving it once more would count it twice.
    int marked = 0;
    for (detail::index_bucket const& b : memory) marked += std::popcount(b.displaced & ~detail::match_tags(b, 0));
    CHECK(marked == 2 * detail::bucket_entries + 1);
}
