#include "archive/pt_writer.h"

#include <ATen/ATen.h>

#include <span>
#include <string_view>

#include "archive/pickle_writer.h"
#include "archive/zip_writer.h"

namespace fltac {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace

void write_pt(const std::string& path, const ArchiveValue& value) {
  const PickledArchive archive = pickle_archive(value);
  ZipWriter zip(path);
  zip.add("archive/data.pkl", bytes_of(archive.pickle));
  zip.add("archive/byteorder", bytes_of("little"));
  for (size_t i = 0; i < archive.storages.size(); ++i) {
    const at::Tensor& storage = archive.storages[i];
    zip.add("archive/data/" + std::to_string(i),
            {static_cast<const std::byte*>(storage.const_data_ptr()), storage.nbytes()});
  }
  zip.add("archive/version", bytes_of("3\n"));
  zip.finish();
}

}  // namespace fltac
