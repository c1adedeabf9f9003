// SPDX-License-Identifier: BSL-1.0
// Capture files on disk: mapping or reading a whole file, and buffered writing.
#include <halfproxy/io/pcap_file.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace halfproxy {

namespace {

constexpr std::size_t file_buffer_bytes = 64 * 1024;

std::error_code last_error() { return {errno, std::system_category()}; }

/// write(2) until everything is out, over interruptions and short writes.
std::error_code write_all(int descriptor, byte_view bytes) {
    while (!bytes.empty()) {
        ssize_t const n = ::write(descriptor, bytes.data(), bytes.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return last_error();
        bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return {};
}

}  // namespace

capture_file::capture_file(std::string const& path) {
    if (std::error_code const error = open(path)) throw std::system_error(error, "cannot read " + path);
}

capture_file::capture_file(std::string const& path, std::error_code& error) { error = open(path); }

capture_file::capture_file(capture_file&& from) noexcept
    : bytes_(std::exchange(from.bytes_, {})),
      copy_(std::move(from.copy_)),
      mapping_(std::exchange(from.mapping_, nullptr)) {}

capture_file& capture_file::operator=(capture_file&& from) noexcept {
    if (this == &from) return *this;
    close();
    bytes_ = std::exchange(from.bytes_, {});
    copy_ = std::move(from.copy_);
    mapping_ = std::exchange(from.mapping_, nullptr);
    return *this;
}

capture_file::~capture_file() { close(); }

void capture_file::close() noexcept {
    if (mapping_ != nullptr) ::munmap(mapping_, bytes_.size());
    mapping_ = nullptr;
    bytes_ = {};
}

std::error_code capture_file::open(std::string const& path) {
    if (path == "-") return read_all(STDIN_FILENO);
    int const descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return last_error();
    std::error_code error;
    struct stat about {};
    if (::fstat(descriptor, &about) != 0) {
        error = last_error();
    } else if (S_ISDIR(about.st_mode)) {
        error = std::make_error_code(std::errc::is_a_directory);
    } else if (S_ISREG(about.st_mode) && about.st_size > 0) {
        auto const size = static_cast<std::size_t>(about.st_size);
        void* const mapping = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
        if (mapping == MAP_FAILED) {
            error = last_error();
        } else {
            mapping_ = mapping;
            bytes_ = {static_cast<std::uint8_t const*>(mapping), size};
        }
    } else {
        error = read_all(descriptor);
    }
    ::close(descriptor);
    return error;
}

std::error_code capture_file::read_all(int descriptor) {
    std::size_t used = 0;
    for (;;) {
        if (copy_.size() - used < file_buffer_bytes) copy_.resize(copy_.size() * 2 + file_buffer_bytes);
        ssize_t const n = ::read(descriptor, copy_.data() + used, copy_.size() - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return last_error();
        if (n == 0) break;
        used += static_cast<std::size_t>(n);
    }
    copy_.resize(used);
    bytes_ = copy_;
    return {};
}

file_sink::file_sink(std::string const& path) {
    if (std::error_code const error = open(path)) throw std::system_error(error, "cannot write " + path);
}

file_sink::file_sink(std::string const& path, std::error_code& error) { error = open(path); }

file_sink::file_sink(file_sink&& from) noexcept
    : buffer_(std::move(from.buffer_)), error_(from.error_), descriptor_(std::exchange(from.descriptor_, -1)) {}

file_sink& file_sink::operator=(file_sink&& from) noexcept {
    if (this == &from) return *this;
    close();
    buffer_ = std::move(from.buffer_);
    error_ = from.error_;
    descriptor_ = std::exchange(from.descriptor_, -1);
    return *this;
}

file_sink::~file_sink() { close(); }

std::error_code file_sink::open(std::string const& path) {
    buffer_.reserve(file_buffer_bytes);
    descriptor_ = path == "-" ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
                              : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (descriptor_ < 0) error_ = last_error();
    return error_;
}

bool file_sink::write(byte_view bytes) {
    if (error_) return false;
    if (buffer_.size() + bytes.size() > file_buffer_bytes && !flush()) return false;
    if (bytes.size() > file_buffer_bytes) {
        error_ = write_all(descriptor_, bytes);
        return !error_;
    }
    buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    return true;
}

bool file_sink::flush() {
    if (!error_) error_ = write_all(descriptor_, buffer_);
    buffer_.clear();
    return !error_;
}

std::error_code file_sink::close() noexcept {
    if (descriptor_ < 0) return error_;
    if (!error_) error_ = write_all(descriptor_, buffer_);
    buffer_.clear();
    if (::close(descriptor_) != 0 && !error_) error_ = last_error();
    descriptor_ = -1;
    return error_;
}

}  // namespace halfproxy
