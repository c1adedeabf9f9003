// SPDX-License-Identifier: BSL-1.0
// The program `halfproxy`: its command line, and the exit code of what went wrong.
#include "commands.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#ifndef HALFPROXY_VERSION
#error "HALFPROXY_VERSION comes from the project's version in CMakeLists.txt"
#endif

namespace {

using namespace halfproxy;
using namespace halfproxy::tool;

/// Runs the chosen subcommand once the whole command line is known to be right.
using action = std::function<int()>;

template <class Value>
using choices = std::vector<std::pair<std::string, Value>>;

choices<row_format> const row_formats{{"tsv", row_format::tsv}, {"json", row_format::json}};
choices<io_backend> const io_backends{{"af_packet", io_backend::af_packet}, {"af_xdp", io_backend::af_xdp}};
choices<guard_mode> const guard_modes{{"off", guard_mode::off},
                                      {"auto", guard_mode::automatic},
                                      {"always", guard_mode::always},
                                      {"monitor", guard_mode::monitor}};

/// An option that takes exactly one of the names. CLI11's own transformer would take the enumeration's numbers too.
template <class Value, class Target>
void add_choice(CLI::App& sub, char const* flag, char const* what, choices<Value> const& values, Target& target) {
    std::string names;
    for (auto const& [name, value] : values) names += (names.empty() ? "" : "|") + name;
    auto const take = [&values, &target, flag, names](std::string const& text) {
        for (auto const& [name, value] : values)
            if (name == text) return void(target = value);
        throw CLI::ValidationError(flag, "'" + text + "' is none of " + names);
    };
    sub.add_option_function<std::string>(flag, take, what)->type_name(names);
}

void add_inline(CLI::App& app, inline_options& o, action& chosen) {
    CLI::App* sub = app.add_subcommand("inline", "Stand between two interfaces as a bridge and guard what passes");
    sub->add_option("--outside", o.outside, "Interface clients come from")->type_name("IF");
    sub->add_option("--inside", o.inside, "Interface the servers are behind")->type_name("IF");
    sub->add_option("--config", o.config, "Configuration (TOML); flags override it")->type_name("FILE");
    add_choice(*sub, "--guard", "When a client must answer a SYN cookie first", guard_modes, o.guard);
    add_choice(*sub, "--io", "How packets come and go", io_backends, o.io);
    sub->add_option("--shards", o.shards, "Engines, each on its own thread")->type_name("N")->check(CLI::Range(1, 256));
    sub->add_option("--report", o.report, "Write the final report there (JSON)")->type_name("FILE.json");
    sub->add_option("--duration", o.duration, "End after so many seconds")
        ->type_name("S")
        ->check(CLI::Range(0.0, 1e9));
    sub->callback([&] { chosen = [&] { return run_inline(o); }; });
}

void add_replay(CLI::App& app, replay_options& o, action& chosen) {
    CLI::App* sub = app.add_subcommand("replay", "Send a capture through the engine, offline");
    sub->add_option("--in", o.in, "Capture to read (pcap, pcapng)")->type_name("CAPTURE")->required();
    sub->add_option("--out-client", o.out_client, "Capture to write: what clients would get")
        ->type_name("FILE")
        ->required();
    sub->add_option("--out-server", o.out_server, "Capture to write: what servers would get")
        ->type_name("FILE")
        ->required();
    sub->add_option("--config", o.config, "Configuration (TOML)")->type_name("FILE");
    sub->add_option("--report", o.report, "Write the final report there (JSON)")->type_name("FILE.json");
    sub->callback([&] { chosen = [&] { return run_replay(o); }; });
}

template <class Options>
void add_listing(CLI::App& app, char const* name, char const* what, Options& o, int (*run)(Options const&),
                 action& chosen) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->add_option("--in", o.in, "Capture to read (pcap, pcapng)")->type_name("CAPTURE")->required();
    add_choice(*sub, "--format", "How rows are written; tsv unless told", row_formats, o.format);
    sub->callback([&o, run, &chosen] { chosen = [&o, run] { return run(o); }; });
}

void add_check(CLI::App& app, check_options& o, action& chosen) {
    CLI::App* sub = app.add_subcommand("check", "Validate a configuration and print what is in effect");
    sub->add_option("--config", o.config, "Configuration (TOML)")->type_name("FILE")->required();
    sub->callback([&] { chosen = [&] { return run_check(o); }; });
}

int run_chosen(action const& chosen) {
    try {
        return chosen();
    } catch (usage_error const& e) {
        fmt::print(stderr, "halfproxy: {}\n", e.what());
        return exit_code::usage;
    } catch (std::exception const& e) {
        fmt::print(stderr, "halfproxy: {}\n", e.what());
        return exit_code::failed;
    }
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"halfproxy: validates clients in the path of one end-to-end TCP session", "halfproxy"};
    app.set_version_flag("--version", "halfproxy " HALFPROXY_VERSION);
    app.require_subcommand(1);
    action chosen;
    inline_options inline_;
    replay_options replay;
    dissect_options dissect;
    flows_options flows;
    check_options check;
    add_inline(app, inline_, chosen);
    add_replay(app, replay, chosen);
    add_listing(app, "flows", "One line per flow, as Zeek's conn.log names things", flows, run_flows, chosen);
    add_listing(app, "dissect", "One line per packet, as Wireshark names things", dissect, run_dissect, chosen);
    add_check(app, check, chosen);
    try {
        app.parse(argc, argv);
    } catch (CLI::ParseError const& e) {
        return app.exit(e) == 0 ? exit_code::success : exit_code::usage;
    }
    return run_chosen(chosen);
}
