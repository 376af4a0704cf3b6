// The functions of the system's mathematics library that augmentation and the meter need.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

func power(_ base: Double, _ exponent: Double) -> Double { pow(base, exponent) }

func naturalLogarithm(_ x: Double) -> Double { log(x) }

func exponential(_ x: Double) -> Double { exp(x) }
