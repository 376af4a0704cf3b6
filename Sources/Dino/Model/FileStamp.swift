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

/// When anything of a file last changed, its name and permissions included; "-" where there is no such file. No program can set it, as it can the other time, and a file
/// that is renamed has a new one. The file's number says no more, and file systems over a network may give another each time.
func fileChange(_ path: String) -> String {
  var info = stat()
  guard unsafe stat(path, &info) == 0 else { return "-" }
  return "\(info.st_ctim.tv_sec).\(info.st_ctim.tv_nsec)"
}
