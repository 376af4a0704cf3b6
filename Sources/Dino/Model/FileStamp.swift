// Size and time of a file as text: cheap evidence that it is still the same. No contents are read.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// "SIZE bytes, changed SECONDS.NANOSECONDS"; "-" where there is no such file.
func fileStamp(_ path: String) -> String {
  var info = stat()
  guard unsafe stat(path, &info) == 0 else { return "-" }
  return "\(info.st_size) bytes, changed \(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)"
}
