// SPDX-License-Identifier: BSL-1.0
// What of a configuration can change while packets flow, and what is said of the rest.
#include "reload.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

using namespace halfproxy::tool;

namespace {

struct file {
    std::filesystem::path path = std::filesystem::temp_directory_path() / ("reload_test." + std::to_string(::getpid()) + ".toml");

    tool_config holds(std::string const& text) const {
        std::ofstream(path) << text;
        return load_config(path);
    }
    /// Without the file's own name.
    std::string fault(running_config const& running, tool_config const& next) const {
        std::string const text = fault_of_change(path, running, next);
        return text.substr(0, path.string().size()) == path.string() ? text.substr(path.string().size()) : text;
    }
    ~file() { std::filesystem::remove(path); }
};

std::string const translated = "[[snat]]\npool = [\"192.0.2.1\"]\n[[service]]\naddress = \"192.0.2.9\"\nport = 80\n[[service.backend]]\naddress = \"192.0.2.10\"\n";

}  // namespace

TEST_CASE("rules, translation, services, timeouts and marks can change, and then are what is in force") {
    file f;
    running_config running(f.holds(translated));
    tool_config const next = f.holds(
        "[guard]\nhalf_open_on = 7\nhalf_open_off = 1\nallow = [\"10.0.0.0/8\"]\n[tracking]\nstrictness = \"strict\"\n[timeouts]\nestablished = 77\n[normalize]\nmss_floor = 100\n"
        "[[rule]]\naction = \"deny\"\n[nat]\nlinger_udp_s = 1\n[[dnat]]\nto = \"192.0.2.3\"\ntarget = \"10.0.0.1\"\n[[snat]]\npool = [\"192.0.2.2\"]\n[services]\n[[service]]\n"
        "address = \"192.0.2.8\"\nport = 81\n[[service.backend]]\naddress = \"192.0.2.11\"\n");
    CHECK(f.fault(running, next) == "");
    CHECK(config_text(changed(running, next)) == config_text(next));
}

TEST_CASE("what cannot change is refused with line and key, or with the key where the file has it no more") {
    file f;
    running_config running(f.holds("[limits]\nflows_v4 = 1000\n"));
    CHECK(f.fault(running, f.holds("\n[limits]\nhandshakes = 9\nflows_v4 = 2000\n")) == ":4: limits.flows_v4: cannot change while running, from 1000 to 2000");
    CHECK(f.fault(running, f.holds("")) == ": limits.flows_v4: cannot change while running, from 1000 to 262144");
    CHECK(f.fault(running, f.holds("[limits]\nflows_v4 = 1000\n[guard]\nmode = \"always\"\n")) == ":4: guard.mode: cannot change while running, from \"off\" to \"always\"");
    CHECK(f.fault(running, f.holds("[limits]\nflows_v4 = 1000\n[[splice.backend]]\naddress = \"192.0.2.1\"\nport = 80\n")).find("splice") != std::string::npos);
}

TEST_CASE("translation and services do not come where there were none at the start, but may go and come back") {
    file f;
    running_config plain(f.holds(""));
    CHECK(f.fault(plain, f.holds("\n[[snat]]\npool = [\"192.0.2.1\"]\n")) == ":2: snat: cannot come while running where there was no translation at the start");
    CHECK(f.fault(plain, f.holds(translated)) == ":3: service: cannot come while running where there was none at the start");
    running_config running(f.holds(translated));
    tool_config const none = f.holds("");
    CHECK(f.fault(running, none) == "");
    running.config = changed(running, none);
    CHECK(f.fault(running, f.holds(translated)) == "");
}

TEST_CASE("another secret is refused without a word of it; the same one is none") {
    file f;
    std::string const one = "[guard]\nsecret = \"00112233445566778899aabbccddeeff\"\n", other = "[guard]\nsecret = \"00112233445566778899aabbccddee00\"\n";
    running_config running(f.holds(one));
    CHECK(running.config.engine.secret.bytes == halfproxy::secret_key{}.bytes);
    CHECK(f.fault(running, f.holds(one)) == "");
    CHECK(f.fault(running, f.holds(other)) == ":2: guard.secret: cannot change while running");
    CHECK(f.fault(running, f.holds("")) == ": guard.secret: cannot change while running");
}

TEST_CASE("a pool's addresses cannot go from whole ports to shared ones") {
    file f;
    running_config running(f.holds("[[snat]]\npool = [\"192.0.2.1\"]\n"));
    std::string const text = f.fault(running, f.holds("[[snat]]\npool = [\"192.0.2.1\"]\nmapping = \"address_and_port_dependent\"\nshare_ports = true\n"));
    CHECK(text.find(":1: snat.share_ports: of snat rule 1 cannot change while running") == 0);
}
