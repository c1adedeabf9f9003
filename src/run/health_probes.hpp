// SPDX-License-Identifier: BSL-1.0
// One check each: begun once, ends once, with a verdict and a word about it.
#pragma once

#include <halfproxy/run/health.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace halfproxy::detail {

struct probe_result {
    bool good = false;
    std::string why{};
};

/// Kept alive by its own pending operations. abandon() ends it without a result.
class probe {
  public:
    using done_callback = std::function<void(probe_result)>;

    virtual ~probe() = default;
    virtual void begin(done_callback done) = 0;
    virtual void abandon() = 0;
};

/// A socket for echo requests, opened while privileges allow. The kernel's unprivileged kind (SOCK_DGRAM) if it may be used, else a raw one.
struct echo_socket {
    explicit echo_socket(boost::asio::io_context& context) : socket(context) {}

    boost::asio::ip::udp::socket socket;  ///< in name only: Asio moves its datagrams
    bool raw = false;
    std::uint16_t identifier = 0;
    std::uint16_t sequence = 0;
};

/// Throws boost::system::system_error.
[[nodiscard]] std::shared_ptr<echo_socket> open_echo_socket(boost::asio::io_context& context, health_check const& check, std::uint16_t identifier);

/// `echo` is needed by ICMP checks.
[[nodiscard]] std::shared_ptr<probe> make_probe(boost::asio::io_context& context, health_check const& check, std::shared_ptr<echo_socket> const& echo);

}  // namespace halfproxy::detail
