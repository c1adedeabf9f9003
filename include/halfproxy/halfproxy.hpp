// SPDX-License-Identifier: BSL-1.0
// All of the library that needs no operating system. This list, in the order of the layers, is its map.
#pragma once

// clang-format off: layers stand in order of rank
#include <halfproxy/core/bytes.hpp>               // byte_view, byte_span
#include <halfproxy/core/frame.hpp>               // a frame, its side, link type, offloads and verdict
#include <halfproxy/core/frame_pool.hpp>          // copies of frames that wait, in a fixed number of slots
#include <halfproxy/core/inline.hpp>              // what the compiler must, or must not, inline
#include <halfproxy/core/outbox.hpp>              // bounded room for packets the engine originates
#include <halfproxy/core/random.hpp>              // a seeded generator; no system randomness
#include <halfproxy/core/time.hpp>                // a clock without now(), stamps and timeouts
#include <halfproxy/core/token_bucket.hpp>        // at most so many a second
#include <halfproxy/core/vector_unit.hpp>         // which vector instructions the processor has
#include <halfproxy/core/verdict.hpp>             // the four verdicts and every drop_reason
#include <halfproxy/core/version.hpp>             // the version of the library

#include <halfproxy/wire/address.hpp>             // IPv4 and IPv6 addresses and prefixes
#include <halfproxy/wire/build.hpp>               // SYN-ACK, SYN, ACK and RST, written in place or anew
#include <halfproxy/wire/checksum.hpp>            // RFC 1071 sums, RFC 1624 updates, partial checksums
#include <halfproxy/wire/headers.hpp>             // header layouts as they stand on the wire
#include <halfproxy/wire/parse.hpp>               // a frame to a view of its layers, in one bounded pass
#include <halfproxy/wire/seq.hpp>                 // sequence positions and distances, modulo 2^32
#include <halfproxy/wire/tcp_options.hpp>         // a cursor over TCP options, and what they say

#include <halfproxy/io/fault.hpp>                 // a decorator that drops, repeats, reorders, delays, corrupts by seed
#include <halfproxy/io/memory.hpp>                // a device in memory, for tests and lessons
#include <halfproxy/io/packet_io.hpp>             // the concept every device models
#include <halfproxy/io/pcap_file.hpp>             // reading and writing pcap and pcapng (link halfproxy::pcap)
#include <halfproxy/io/pcap_io.hpp>               // captures as devices, received from and transmitted to (link halfproxy::pcap)
#include <halfproxy/io/trace.hpp>                 // a decorator that writes what passes to a capture (link halfproxy::pcap)

#include <halfproxy/admit/acl.hpp>                // address and port rules, first match
#include <halfproxy/admit/exemption.hpp>          // sources that have proved themselves lately
#include <halfproxy/admit/guard.hpp>              // when to challenge: off, automatic, always, monitor
#include <halfproxy/admit/limits.hpp>             // new flows per second and half-open handshakes of one source
#include <halfproxy/admit/rate_meter.hpp>         // events per second, smoothed over virtual time
#include <halfproxy/admit/siphash.hpp>            // SipHash-2-4, the default keyed hash
#include <halfproxy/admit/syn_cookie.hpp>         // SYN cookies that keep a client's options

#include <halfproxy/track/conn_log.hpp>           // what a connection log says of a flow
#include <halfproxy/track/flow_key.hpp>           // tuples of a flow and their hash
#include <halfproxy/track/flow_table.hpp>         // fixed-capacity table, looked up in bursts
#include <halfproxy/track/fragments.hpp>          // fragmented datagrams: the first decides, the others follow or wait
#include <halfproxy/track/huge_page_memory.hpp>   // memory for large tables
#include <halfproxy/track/tcp_checks.hpp>         // which of the tracker's checks may drop
#include <halfproxy/track/tcp_tracker.hpp>        // TCP states and windows
#include <halfproxy/track/timeouts.hpp>           // how long a flow may be silent, two presets
#include <halfproxy/track/timer_wheel.hpp>        // a lazy timing wheel

#include <halfproxy/translate/client_option.hpp>  // the client's address in a TCP option
#include <halfproxy/translate/encapsulation.hpp>  // IP in IP and in UDP (GUE), put in and taken out
#include <halfproxy/translate/fast_open.hpp>      // TCP Fast Open's option taken out of a SYN
#include <halfproxy/translate/frame_room.hpp>     // room for a longer network header, in place
#include <halfproxy/translate/icmp_quote.hpp>     // the packet an ICMP error quotes, rewritten back
#include <halfproxy/translate/nat64.hpp>          // IPv4 made of IPv6 and back, with ICMP and fragments (RFC 7915)
#include <halfproxy/translate/nat64_hosts.hpp>    // IPv4 addresses for IPv6 hosts, the state of NAT64
#include <halfproxy/translate/nat64_prefix.hpp>   // IPv4 addresses embedded in IPv6 ones (RFC 6052)
#include <halfproxy/translate/nat_binding.hpp>    // NAT mappings, held by flows and a while longer
#include <halfproxy/translate/nat_rewriter.hpp>   // addresses and ports, with their checksums
#include <halfproxy/translate/nptv6.hpp>          // one IPv6 prefix for another, checksum neutral (RFC 6296)
#include <halfproxy/translate/option_edit.hpp>    // TCP options blanked, lowered or put in, in place
#include <halfproxy/translate/packet_pieces.hpp>  // large segments and long packets cut up
#include <halfproxy/translate/port_pool.hpp>      // external ports, given out exactly
#include <halfproxy/translate/port_space.hpp>     // which ports are taken: whole, or by destination
#include <halfproxy/translate/proxy_protocol.hpp> // the client's address before its stream (PROXY protocol)
#include <halfproxy/translate/rewrite.hpp>        // header fields changed in place, checksums put right once
#include <halfproxy/translate/seq_shift.hpp>      // ISN delta, SACK edges, timestamps, window scale

#include <halfproxy/balance/any_scheduler.hpp>    // a scheduler whose model is chosen by configuration
#include <halfproxy/balance/backend.hpp>          // a server behind a virtual service, and how packets reach it
#include <halfproxy/balance/backend_pool.hpp>     // states, limits, slow start and passive checks of a service's backends
#include <halfproxy/balance/fixed_list.hpp>       // a list that never allocates after its constructor
#include <halfproxy/balance/hash.hpp>             // hashes that choose backends, the same on every node
#include <halfproxy/balance/health_check.hpp>     // how a service's servers are checked, and what would be wrong with it
#include <halfproxy/balance/indexed_heap.hpp>     // the least of things whose keys change
#include <halfproxy/balance/maglev.hpp>           // Maglev's look-up table
#include <halfproxy/balance/persistence.hpp>      // clients that come back to the same server
#include <halfproxy/balance/schedulers.hpp>       // which backend a new flow gets: eight models of one concept
#include <halfproxy/balance/service_config.hpp>   // virtual services as configured, and what would be wrong with them
#include <halfproxy/balance/service_table.hpp>    // which service an address is, and who gets its flows

#include <halfproxy/route/icmp_answer.hpp>        // a packet becomes the ICMP error or echo reply about itself
#include <halfproxy/route/local_addresses.hpp>    // the addresses that are ours
#include <halfproxy/route/neighbour_messages.hpp> // ARP and neighbour discovery, read and built
#include <halfproxy/route/neighbours.hpp>         // who is at which link address
#include <halfproxy/route/router.hpp>             // what is done before an engine, and where packets go after it
#include <halfproxy/route/routes.hpp>             // connected prefixes and static routes

#include <halfproxy/engine/address_plan.hpp>      // static, destination and source NAT by rules
#include <halfproxy/engine/backend_profile.hpp>   // what is known of servers before they are asked
#include <halfproxy/engine/config.hpp>            // everything that can be set on an engine
#include <halfproxy/engine/counters.hpp>          // what the engine counts
#include <halfproxy/engine/engine.hpp>            // process(): the path of a packet
#include <halfproxy/engine/flow.hpp>              // the flow record
#include <halfproxy/engine/flow_state.hpp>        // a flow as another engine is told of it
#include <halfproxy/engine/handshake.hpp>         // the handshake with the server that a valid cookie starts
#include <halfproxy/engine/nat_config.hpp>        // rules of address translation, and what may be wrong with them
#include <halfproxy/engine/policies.hpp>          // what a user may supply to the engine
#include <halfproxy/engine/service_engine.hpp>    // the engine with virtual services, and address translation behind them
#include <halfproxy/engine/snat_pool.hpp>         // one rule of source NAT at work
#include <halfproxy/engine/translating_edge.hpp>  // NAT64 and NPTv6 around an engine
#include <halfproxy/engine/virtual_services.hpp>  // virtual services as an address policy

#include <halfproxy/sync/sync_frame.hpp>          // what two half proxies tell each other, as bytes
#include <halfproxy/sync/sync_journal.hpp>        // which flows the other was told of, and has told of
#include <halfproxy/sync/sync_receiver.hpp>       // adopts the flows of another half proxy
#include <halfproxy/sync/sync_sender.hpp>         // tells another half proxy of an engine's flows
// clang-format on
