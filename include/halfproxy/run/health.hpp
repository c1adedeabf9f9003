// SPDX-License-Identifier: BSL-1.0
// Health checks of servers on Boost.Asio: TCP connect, HTTP, ICMP echo, UDP; bounded in number, each transition told once.
//
// What a check covers. It is made with the kernel's own sockets, beside the packet path: it shows that the server, its service and the way to it
// from this machine work. With `interface` it leaves through that device whatever the kernel's routes say (SO_BINDTODEVICE), with `source` from that address,
// which the kernel must have on an interface. It does not go through the engine: its flow table, NAT bindings and, in routed mode, its neighbours and
// routes are not tried. A port whose addresses only halfproxy has (routed mode) cannot be used: give the kernel an address of its own there, or
// another interface to the same network.
#pragma once

#include <halfproxy/run/health_state.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace halfproxy {

enum class health_probe : std::uint8_t {
    tcp,   ///< the connection is accepted; it is then closed
    http,  ///< a GET is answered with a status, and a body, that are expected
    icmp,  ///< an echo request is answered
    udp,   ///< a datagram is answered with what is expected
};

struct health_check {
    health_probe probe = health_probe::tcp;
    boost::asio::ip::address address{};
    std::uint16_t port = 0;  ///< not for icmp
    health_policy policy{};

    std::string host{};                ///< http: the Host field; the address when empty
    std::string path = "/";
    unsigned least_status = 200;
    unsigned greatest_status = 399;
    std::string body{};                ///< http: must occur in the first 64 KiB of the body; empty: it is not read
    std::string send{};                ///< udp
    std::string expect{};              ///< udp: the answer must begin with it; empty: any answer will do

    std::string interface{};                           ///< SO_BINDTODEVICE; empty: as the kernel routes
    std::optional<boost::asio::ip::address> source{};  ///< of the check's packets
};

struct health_options {
    std::size_t most_at_once = 64;  ///< checks in progress; others wait their turn
    std::uint64_t seed = 0;         ///< of jitter
};

struct health_counters {
    std::uint64_t begun = 0;
    std::uint64_t good = 0;
    std::uint64_t bad = 0;
    std::uint64_t transitions = 0;
    std::size_t running = 0;
    std::size_t running_peak = 0;
};

/// Runs on one io_context, which one thread runs and which must outlive it. The destructor ends every check; no callback comes after it.
class health_checker {
  public:
    using target_id = std::size_t;
    /// `why` says what the last check found: "connected", "status 503", "no answer in time".
    using change_callback = std::function<void(target_id, health, std::string const& why)>;

    /// `changed` is called through `notify`: the executor of the engine's io_context when that is another one than the checks' own.
    health_checker(boost::asio::io_context& context, health_options const& options, change_callback changed,
                   boost::asio::any_io_executor notify);
    health_checker(boost::asio::io_context& context, health_options const& options, change_callback changed);
    ~health_checker();
    health_checker(health_checker const&) = delete;
    health_checker& operator=(health_checker const&) = delete;

    /// Begins to check a server; until its first transition it counts as `initially`. What needs privileges is opened here (ICMP sockets). Throws
    /// boost::system::system_error when it cannot be.
    target_id add(health_check const& check, health initially = health::down);

    /// Ends its checks. A change already on its way through `notify` may still arrive.
    void remove(target_id id);

    [[nodiscard]] std::optional<health> state(target_id id) const;
    [[nodiscard]] health_counters const& counters() const noexcept;

  private:
    struct impl;
    std::shared_ptr<impl> impl_;
};

}  // namespace halfproxy
