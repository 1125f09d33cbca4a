//go:build ignore

// Reads N and prints how many primes lie below it, and the greatest of them.
package main

import "fmt"

func main() {
	var n int
	if _, err := fmt.Scan(&n); err != nil {
		panic(err)
	}
	composite := make([]bool, n)
	count, last := 0, 0
	for i := 2; i < n; i++ {
		if composite[i] {
			continue
		}
		count, last = count+1, i
		for k := i * i; k < n; k += i {
			composite[k] = true
		}
	}
	fmt.Printf("%d primes below %d, the last is %d\n", count, n, last)
}
