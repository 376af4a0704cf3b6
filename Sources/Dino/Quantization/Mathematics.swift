// The functions of the C library that this room needs, under names that say what they do.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

func logarithm(_ x: Double) -> Double { log(x) }
