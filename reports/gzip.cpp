#include "reports/gzip.hpp"

#define ZLIB_CONST  // next_in points to const
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <memory>

#include "core/error.hpp"
#include "core/file.hpp"

namespace orrery {

std::string gzip(std::string_view text) {
  constexpr int kGzip = 16;  // added to the window: a gzip header instead of zlib's own
  constexpr int kMemoryLevel = 8;
  constexpr int kUnknownSystem = 255;
  z_stream stream = {};
  int status = deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + kGzip,
                            kMemoryLevel, Z_DEFAULT_STRATEGY);
  ORRERY_CHECK(status == Z_OK, "deflateInit2 gives {}", status);
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, deflateEnd);
  gz_header header = {};
  header.os = kUnknownSystem;
  status = deflateSetHeader(&stream, &header);
  ORRERY_CHECK(status == Z_OK, "deflateSetHeader gives {}", status);

  // zlib counts what is left in 32 bits.
  constexpr std::size_t kMost = std::numeric_limits<uInt>::max();
  std::string out;
  Bytef block[65536];
  do {
    const auto size = static_cast<uInt>(std::min(text.size(), kMost));
    stream.next_in = reinterpret_cast<const Bytef*>(text.data());
    stream.avail_in = size;
    text.remove_prefix(size);
    do {
      stream.next_out = block;
      stream.avail_out = sizeof block;
      status = deflate(&stream, text.empty() ? Z_FINISH : Z_NO_FLUSH);
      ORRERY_CHECK(status != Z_STREAM_ERROR, "deflate gives {}", status);
      out.append(reinterpret_cast<const char*>(block), sizeof block - stream.avail_out);
    } while (stream.avail_out == 0);
  } while (!text.empty());
  ORRERY_CHECK(status == Z_STREAM_END, "deflate ends with {}", status);
  return out;
}

void write_trace(const std::string& path, std::string_view text) {
  if (path.ends_with(".gz")) {
    write_file_atomically(path, gzip(text));
  } else {
    write_file_atomically(path, text);
  }
}

}  // namespace orrery
