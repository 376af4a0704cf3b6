// How much memory this process may still take: what the system says is available, limited by the control group (containers) and by
// ulimit -v. An estimate for refusing what cannot fit, before the kernel ends a process for it; nothing is reserved.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// Bytes that could be taken now, or nil where the system does not say.
public func availableMemory() -> Int? {
  [systemAvailable(), groupAvailable(), addressSpaceLimit()].compactMap { $0 }.min()
}

/// MemAvailable of /proc/meminfo, and free swap.
private func systemAvailable() -> Int? {
  guard let available = kilobytes("MemAvailable:") else { return nil }
  return available + (kilobytes("SwapFree:") ?? 0)
}

private func kilobytes(_ label: String) -> Int? {
  firstLine("/proc/meminfo", starting: label).flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) }.map { $0 * 1024 }
}

/// What the control group's limit leaves (version 2, then 1). Cache that can be given back counts as used: the answer errs on the low side by
/// that, so it is not taken below half of the limit.
private func groupAvailable() -> Int? {
  for (limit, used) in [("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
                        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")] {
    if let most = firstLine(limit).flatMap({ Int($0) }), let now = firstLine(used).flatMap({ Int($0) }), most < 1 << 60 { return max(most - now, most / 2) }
  }
  return nil
}

private func addressSpaceLimit() -> Int? {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < 1 << 60 else { return nil }
  return Int(limit.rlim_cur)
}
