// SPDX-License-Identifier: BSL-1.0
// Capture files, read and written: pcap and pcapng, over bytes in memory; the file access itself is in src/io.
//
// Read draft-ietf-opsawg-pcap (pcap), draft-ietf-opsawg-pcapng (pcapng) and the LINKTYPE_ registry first.
#pragma once

#include <halfproxy/core/bytes.hpp>
#include <halfproxy/core/frame.hpp>
#include <halfproxy/core/time.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace halfproxy {

/// A record that claims more bytes is damage, not a packet: libpcap and Wireshark draw the line at the same place, and
/// four frames of the largest GSO size fit under it.
inline constexpr std::uint32_t max_capture_record_bytes = 256 * 1024;

/// What a LINKTYPE_ number means to the parser. Bits above the low 16 (FCS length) are not looked at.
[[nodiscard]] constexpr link_type link_type_of(std::uint32_t linktype) noexcept;

/// The LINKTYPE_ number a writer announces; `unsupported` is 147, the first of those reserved for private use.
[[nodiscard]] constexpr std::uint16_t linktype_number(link_type link) noexcept;

/// One packet of a capture. The bytes are the file's and live as long as it does.
struct capture_record {
    byte_view bytes;
    std::uint32_t wire_length = 0;   ///< at least bytes.size()
    time_point time{};               ///< since 1970; of a pcapng simple packet, which has none: that of the record before
    link_type link = link_type::unsupported;
    std::uint16_t linktype = 0;      ///< the file's LINKTYPE_ number
    std::uint32_t interface = 0;     ///< counted from 0 through the whole file, over all of its sections
    std::uint64_t number = 0;        ///< counted from 1, as Wireshark's frame.number
};

enum class capture_status : std::uint8_t {
    ok,             ///< more may follow
    end,            ///< the file ended where a record ended
    truncated,      ///< the file ends inside a record; every whole record was delivered
    damaged,        ///< a length or a reference that cannot be; nothing behind it can be trusted
    not_a_capture,  ///< neither pcap nor pcapng
};

/// Reads a whole capture that lies in memory. next() is one step of bounded work, except that it walks over blocks
/// that hold no packet. Reads pcap (microseconds, nanoseconds, and the "modified" format with its longer record
/// header) and pcapng (several sections and interfaces, enhanced, simple and obsolete packet blocks), each in both byte
/// orders. Allocates only for a pcapng interface description.
class pcap_reader {
  public:
    explicit pcap_reader(byte_view file);

    /// Fills `record` and returns true, or returns false, and status() tells why.
    bool next(capture_record& record);

    [[nodiscard]] capture_status status() const noexcept { return status_; }
    /// Where the record begins that status() speaks of, in bytes from the file's begin.
    [[nodiscard]] std::uint64_t offset() const noexcept { return at_; }
    /// What is wrong, as half a sentence; empty when nothing is.
    [[nodiscard]] std::string_view reason() const noexcept { return reason_; }
    /// "byte 1240: the file ends inside a packet record (after 17 whole ones)"; empty when nothing is wrong.
    [[nodiscard]] std::string message() const;
    /// Records delivered so far.
    [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

  private:
    struct interface {
        std::uint16_t linktype = 0;
        std::uint32_t snap_length = 0;         // 0: no limit
        std::uint8_t resolution = 6;           // if_tsresol: 10^-n, or 2^-n with the high bit set
        std::int64_t offset_seconds = 0;       // if_tsoffset
    };
    struct block {
        std::uint32_t type = 0;
        std::size_t begin = 0;  // of the body
        std::size_t end = 0;
    };

    [[nodiscard]] std::uint16_t u16(std::size_t at) const noexcept;
    [[nodiscard]] std::uint32_t u32(std::size_t at) const noexcept;
    [[nodiscard]] bool has(std::size_t at, std::size_t n) const noexcept;
    bool stop(capture_status status, std::string_view reason) noexcept;

    void open_pcap(std::uint32_t magic_as_little, std::uint32_t magic_as_big);
    bool next_pcap(capture_record& record);
    bool next_pcapng(capture_record& record);
    bool read_block(block& b);
    bool read_section(block& b);
    bool read_interface(block const& b);
    void read_interface_options(std::size_t at, std::size_t end, interface& out) const;
    bool read_enhanced(block const& b, capture_record& record);
    bool read_simple(block const& b, capture_record& record);
    bool deliver(capture_record& record, std::uint32_t interface_id, std::size_t at, std::uint32_t captured,
                 std::uint32_t wire);

    byte_view file_;
    std::size_t at_ = 0;  // of the record to be read next
    std::uint64_t records_ = 0;
    std::vector<interface> interfaces_;  // of this section
    std::uint32_t first_interface_ = 0;  // number of interfaces_[0] in the file
    time_point last_time_{};
    std::string_view reason_;
    std::uint32_t fraction_ns_ = 1000;     // pcap: nanoseconds per unit of a stamp's second half
    std::uint16_t record_header_ = 16;     // pcap: bytes, 24 in the modified format
    capture_status status_ = capture_status::ok;
    bool big_endian_ = false;
    bool pcapng_ = false;
    bool lengths_swapped_ = false;  // pcap before version 2.3 put the wire's length first
};

enum class capture_format : std::uint8_t { pcap, pcapng };

/// epb_flags, bits 0 and 1.
enum class packet_direction : std::uint8_t { unknown = 0, inbound = 1, outbound = 2 };

/// What may be said of a packet beside its bytes; pcap keeps only the first two.
struct capture_packet {
    byte_view bytes;
    time_point time{};
    std::uint32_t wire_length = 0;  ///< 0: as many as `bytes`
    std::uint32_t interface = 0;    ///< what add_interface() returned; 0 is the constructor's
    packet_direction direction = packet_direction::unknown;
    std::string_view comment{};
};

/// What a writer writes to. A model keeps the bytes or says false; after false the writer writes nothing more.
template <class T>
concept byte_sink = requires(T& sink, byte_view bytes) {
    { sink.write(bytes) } -> std::same_as<bool>;
};

/// Writes a capture: little-endian, nanosecond stamps, so that the same packets make the same file on every machine.
/// The sink must outlive the writer. Frames longer than the snap length are cut and keep their wire length.
template <byte_sink Sink>
class pcap_writer {
  public:
    pcap_writer(Sink& sink, capture_format format, link_type link,
                std::uint32_t snap_length = max_capture_record_bytes);
    pcap_writer(Sink& sink, capture_format format, std::uint16_t linktype,
                std::uint32_t snap_length = max_capture_record_bytes);

    /// Another interface, pcapng only; in pcap, which has one, it returns 0 and does nothing.
    std::uint32_t add_interface(std::uint16_t linktype, std::string_view name = {});

    /// False when the sink refuses, now or before. A stamp outside of what the format holds is moved to its nearest bound.
    bool write(capture_packet const& packet);

    [[nodiscard]] bool good() const noexcept { return good_; }
    [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

  private:
    void begin_pcap(std::uint16_t linktype);
    void begin_section();
    bool write_pcap(capture_packet const& packet, std::uint32_t captured, std::uint32_t wire);
    bool write_pcapng(capture_packet const& packet, std::uint32_t captured, std::uint32_t wire);
    void put(byte_view bytes);
    void put16(std::uint16_t value);
    void put32(std::uint32_t value);
    void pad(std::size_t content_bytes);

    Sink* sink_;
    std::uint64_t records_ = 0;
    std::uint32_t snap_length_;
    std::uint32_t interfaces_ = 0;
    capture_format format_;
    bool good_ = true;
};

/// A byte_sink in memory, without bound: for tests and small captures.
struct memory_sink {
    std::vector<std::uint8_t> bytes;
    bool write(byte_view more) {
        bytes.insert(bytes.end(), more.begin(), more.end());
        return true;
    }
};

/// A whole file's bytes, mapped where that is possible and read otherwise (a pipe). The file must not shrink meanwhile.
/// Compiled: link halfproxy::pcap.
class capture_file {
  public:
    capture_file() noexcept = default;
    /// "-" is the standard input. Throws std::system_error whose text names the path.
    explicit capture_file(std::string const& path);
    capture_file(std::string const& path, std::error_code& error);
    capture_file(capture_file&& from) noexcept;
    capture_file& operator=(capture_file&& from) noexcept;
    ~capture_file();

    [[nodiscard]] byte_view bytes() const noexcept { return bytes_; }

  private:
    std::error_code open(std::string const& path);
    std::error_code read_all(int descriptor);
    void close() noexcept;

    byte_view bytes_{};
    std::vector<std::uint8_t> copy_;
    void* mapping_ = nullptr;
};

/// A byte_sink that is a file, created or emptied. Buffered; what the destructor cannot write is lost silently, so call
/// close() to know. Compiled: link halfproxy::pcap.
class file_sink {
  public:
    /// "-" is the standard output. Throws std::system_error whose text names the path.
    explicit file_sink(std::string const& path);
    file_sink(std::string const& path, std::error_code& error);
    file_sink(file_sink&& from) noexcept;
    file_sink& operator=(file_sink&& from) noexcept;
    ~file_sink();

    bool write(byte_view bytes);
    /// Hands everything to the system; a crash of the program loses nothing written before.
    bool flush();
    /// The first error of any write, or of closing. Calling it twice is harmless.
    std::error_code close() noexcept;
    [[nodiscard]] std::error_code error() const noexcept { return error_; }

  private:
    std::error_code open(std::string const& path);

    std::vector<std::uint8_t> buffer_;
    std::error_code error_;
    int descriptor_ = -1;
};

}  // namespace halfproxy

#include <halfproxy/io/impl/pcap_reader.hpp>
#include <halfproxy/io/impl/pcap_writer.hpp>
