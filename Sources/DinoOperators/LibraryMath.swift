// The C library's functions under names that do not clash with those of operators.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

func power(_ x: Double, _ y: Double) -> Double { pow(x, y) }
func exponential(_ x: Double) -> Double { exp(x) }
func logarithm(_ x: Double) -> Double { log(x) }
