// SPDX-License-Identifier: BSL-1.0
// The program `halfproxy`: its command line, and the exit code of what went wrong.
#include "choices.hpp"
#include "commands.hpp"

#include <halfproxy/core/version.hpp>

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <string>

namespace {

using namespace halfproxy;
using namespace halfproxy::tool;

/// Runs the chosen subcommand once the whole command line is known to be right.
using action = std::function<int()>;

/// An option that takes exactly one of an enumeration's names. CLI11's own transformer would take its numbers too.
template <class Value, class Target>
void add_choice(CLI::App& sub, char const* flag, char const* what, Target& target) {
    auto const take = [&target, flag](std::string const& text) {
        auto const value = value_of<Value>(text);
        if (!value) throw CLI::ValidationError(flag, "'" + text + "' is none of " + names_of<Value>());
        target = *value;
    };
    sub.add_option_function<std::string>(flag, take, what)->type_name(names_of<Value>());
}

void add_inline(CLI::App& app, inline_options& o, action& chosen) {
    CLI::App* sub = app.add_subcommand("inline", "Stand between two interfaces as a bridge and guard what passes");
    sub->add_option("--outside", o.outside, "Interface clients come from")->type_name("IF");
    sub->add_option("--inside", o.inside, "Interface the servers are behind")->type_name("IF");
    sub->add_option("--config", o.config, "Configuration (TOML); flags override it")->type_name("FILE");
    add_choice<guard_mode>(*sub, "--guard", "When a client must answer a SYN cookie first", o.guard);
    add_choice<io_backend>(*sub, "--io", "How packets come and go", o.io);
    sub->add_option("--shards", o.shards, "Engines, each on its own thread")->type_name("N")->check(CLI::Range(1, 256));
    sub->add_option("--report", o.report, "Write the final report there (JSON)")->type_name("FILE.json");
    sub->add_option("--duration", o.duration, "End after so many seconds")->type_name("S")->check(CLI::Range(0.0, 1e9));
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
void add_listing(CLI::App& app, char const* name, char const* what, char const* footer, Options& o,
                 int (*run)(Options const&), action& chosen) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->footer(footer);
    sub->add_option("--in", o.in, "Capture to read (pcap, pcapng); - is the standard input")
        ->type_name("CAPTURE")
        ->required();
    add_choice<row_format>(*sub, "--format", "How rows are written; tsv unless told", o.format);
    sub->callback([&o, run, &chosen] { chosen = [&o, run] { return run(o); }; });
}

constexpr char const* flows_footer =
    "TCP, UDP and ICMP. What is unset is -, and left out of JSON. Nothing reads payloads yet: service, server_name,\n"
    "alpn, ja4 and http.* are always unset. Packets with a bad checksum count as Zeek counts them, but not those whose\n"
    "checksum was left to the sender's device. MPLS, PPPoE, FabricPath, GRE and IP in IP are opened; tunnels over UDP\n"
    "are listed as their outer flow. Exit 1 when the capture is damaged: what came before is listed.";

constexpr char const* dissect_footer =
    "Of the outermost IP layer. What is absent is empty, and left out of JSON. error names what the parser found wrong\n"
    "first; cut means that the capture holds less than the wire carried. Exit 1 when the capture is damaged: what came\n"
    "before is listed.";

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
    } catch (std::bad_alloc const&) {  // the only large memory is what the configuration asks for
        fmt::print(stderr, "halfproxy: not enough memory; lower flows_v4, flows_v6 or handshakes in [limits]\n");
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
    app.require_subcommand(0, 1);  // none is looked for after parsing, so that a misspelt one is named
    action chosen;
    inline_options inline_;
    replay_options replay;
    dissect_options dissect;
    flows_options flows;
    check_options check;
    add_inline(app, inline_, chosen);
    add_replay(app, replay, chosen);
    add_listing(app, "flows", "One line per flow, as Zeek's conn.log names things", flows_footer, flows, run_flows, chosen);
    add_listing(app, "dissect", "One line per packet, as Wireshark names things", dissect_footer, dissect, run_dissect,
                chosen);
    add_check(app, check, chosen);
    try {
        app.parse(argc, argv);
        if (!chosen) throw CLI::RequiredError("A subcommand");
    } catch (CLI::ParseError const& e) {
        return app.exit(e) == 0 ? exit_code::success : exit_code::usage;
    }
    return run_chosen(chosen);
}
