// SPDX-License-Identifier: BSL-1.0
// Which socket of a port a frame belongs to while a flood lasts: SYNs to one, everything else to the other.
//
// The program is one for the kernel's classic packet filter (Documentation/networking/filter.rst); it sees the frame from its link header on,
// without the outermost VLAN tag. A load past the frame's end would end it with "to nobody", so each is preceded by a look at the length. What it does not
// understand (a second tag, an extension header, a later fragment) is no SYN to it, and loses nothing by that but the ring of its own.
#pragma once

#include <array>
#include <cstdint>
#include <linux/filter.h>
#include <linux/if_ether.h>

namespace halfproxy::af_packet_detail {

/// Of frames that count as SYNs; longer ones carry data (TCP Fast Open).
inline constexpr std::uint32_t longest_syn_bytes = 256;

inline constexpr std::uint32_t filter_takes_all = 0xffff'ffff;
inline constexpr std::uint32_t filter_takes_none = 0;

using syn_filter = std::array<sock_filter, 23>;

/// What the program answers for SYNs (no ACK, RST or FIN beside it, TCP straight in IPv4 or IPv6), and for all other frames.
[[nodiscard]] constexpr syn_filter make_syn_filter(std::uint32_t for_syns, std::uint32_t for_others) noexcept {
    constexpr std::uint32_t ip = ETH_HLEN, tcp_flags = 13, protocol_tcp = 6, least = ip + 20 + 20;
    constexpr unsigned others = 21, syns = 22;
    auto const run = [](unsigned code, std::uint32_t k) { return sock_filter{static_cast<std::uint16_t>(code), 0, 0, k}; };
    // Jumps name the line they lead to, as the kernel counts from the next one.
    auto const jump = [](unsigned test, std::uint32_t k, unsigned here, unsigned yes, unsigned no) {
        return sock_filter{static_cast<std::uint16_t>(BPF_JMP | test), static_cast<std::uint8_t>(yes - here - 1),
                           static_cast<std::uint8_t>(no - here - 1), k};
    };
    return {run(BPF_LD | BPF_W | BPF_LEN, 0),
            jump(BPF_JGE | BPF_K, least, 1, 2, others),
            jump(BPF_JGT | BPF_K, longest_syn_bytes, 2, others, 3),
            run(BPF_LD | BPF_H | BPF_ABS, ip - 2),
            jump(BPF_JEQ | BPF_K, ETH_P_IP, 4, 5, 11),
            run(BPF_LD | BPF_B | BPF_ABS, ip + 9),
            jump(BPF_JEQ | BPF_K, protocol_tcp, 6, 7, others),
            run(BPF_LD | BPF_H | BPF_ABS, ip + 6),
            jump(BPF_JSET | BPF_K, 0x1fff, 8, others, 9),  // a fragment other than the first
            run(BPF_LDX | BPF_B | BPF_MSH, ip),            // X: the header's length
            run(BPF_JMP | BPF_JA, 15 - 10 - 1),
            jump(BPF_JEQ | BPF_K, ETH_P_IPV6, 11, 12, others),
            run(BPF_LD | BPF_B | BPF_ABS, ip + 6),
            jump(BPF_JEQ | BPF_K, protocol_tcp, 13, 14, others),
            run(BPF_LDX | BPF_W | BPF_IMM, 40),
            run(BPF_LD | BPF_W | BPF_LEN, 0),
            run(BPF_ALU | BPF_SUB | BPF_K, ip + tcp_flags + 1),
            jump(BPF_JGE | BPF_X, 0, 17, 18, others),
            run(BPF_LD | BPF_B | BPF_IND, ip + tcp_flags),
            run(BPF_ALU | BPF_AND | BPF_K, 0x17),  // ACK, RST, SYN, FIN
            jump(BPF_JEQ | BPF_K, 0x02, 20, syns, others),
            run(BPF_RET | BPF_K, for_others),
            run(BPF_RET | BPF_K, for_syns)};
}

}  // namespace halfproxy::af_packet_detail
