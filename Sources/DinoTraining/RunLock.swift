// The folder of a run as one process's alone: two that write into one would mix their results, and one that takes away what a killed run left would take it from a living one. (A bank has a lock
// of its own, a file that is part of its format: BankWriter.)

public import Dino
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Held until the value goes away; the system gives it back however the process ends. The folder itself is locked, so that no file of the lock is left in it.
public final class RunLock {
  private let descriptor: Int32

  public init(_ folder: String) throws(DinoError) {
    let opened = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard opened >= 0 else { throw DinoError(.io, "\(folder): the folder cannot be opened") }
    // A file system that has no locks refuses nothing.
    if flock(opened, LOCK_EX | LOCK_NB) != 0 && errno == EAGAIN {
      close(opened)
      throw DinoError(.io, "\(folder): another process is writing into it", hint: "wait for that one, or name another --output-dir")
    }
    descriptor = opened
  }

  deinit { close(descriptor) }
}
