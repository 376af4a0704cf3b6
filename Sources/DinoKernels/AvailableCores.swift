// How many cores this process may use: the affinity mask, and the quota of its control group (containers).

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What `DINO_THREADS` says.
public enum ThreadRequest: Sendable, Equatable {
  /// Nothing, or 0: the cores there are.
  case cores
  case threads(Int)
  /// Neither; it is passed over.
  case unusable(String)

  public static let range = 1...1024

  public init(_ text: String) {
    let number = Int(text)
    if text.isEmpty || number == 0 {
      self = .cores
    } else if let number, Self.range.contains(number) {
      self = .threads(number)
    } else {
      self = .unusable(text)
    }
  }

  public static var current: ThreadRequest {
    guard let value = getenv("DINO_THREADS") else { return .cores }
    return ThreadRequest(String(cString: value))
  }
}

/// Cores for this process: `DINO_THREADS` if set, otherwise the affinity mask limited by the cgroup's CPU quota, rounded up. At least 1.
public func availableCores() -> Int {
  if case .threads(let n) = ThreadRequest.current { return n }
  var cores = affinityCores() ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
  if let quota = cgroupQuota() { cores = min(cores, Int(quota.rounded(.up))) }
  return max(1, cores)
}

/// Bits of the affinity mask, as the kernel prints it: "Cpus_allowed:\tff,ffffffff". (`sched_getaffinity` is hidden from Swift by its feature macro.)
private func affinityCores() -> Int? {
  guard let line = firstLine("/proc/self/status", starting: "Cpus_allowed:") else { return nil }
  let bits = line.dropFirst("Cpus_allowed:".count).compactMap(\.hexDigitValue).reduce(0) { $0 + $1.nonzeroBitCount }
  return bits > 0 ? bits : nil
}

/// The CPU quota in cores: version 2 (`cpu.max`: "quota period" or "max period"), else version 1.
private func cgroupQuota() -> Double? {
  if let text = firstLine("/sys/fs/cgroup/cpu.max") {
    let parts = text.split(separator: " ")
    if parts.count == 2, let quota = Double(parts[0]), let period = Double(parts[1]), period > 0, quota > 0 { return quota / period }
    return nil
  }
  if let q = firstLine("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").flatMap(Double.init), q > 0,
    let p = firstLine("/sys/fs/cgroup/cpu/cpu.cfs_period_us").flatMap(Double.init), p > 0 {
    return q / p
  }
  return nil
}

/// The first line of a file that starts so, without its line end.
func firstLine(_ path: String, starting prefix: String = "") -> String? {
  guard let file = fopen(path, "r") else { return nil }
  defer { fclose(file) }
  var buffer = [CChar](repeating: 0, count: 4096)
  while fgets(&buffer, Int32(buffer.count), file) != nil {
    let end = buffer.firstIndex { $0 == 0 || $0 == 10 } ?? buffer.count
    let line = String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    if line.hasPrefix(prefix) { return line }
  }
  return nil
}
