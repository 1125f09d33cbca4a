#include <iostream>
#include <vector>

// Reads N and prints how many primes lie below it, and the greatest of them.
int main()
{
	long n;
	std::cin >> n;
	std::vector<bool> composite(n);
	std::vector<long> primes;
	for (long i = 2; i < n; i++) {
		if (composite[i])
			continue;
		primes.push_back(i);
		for (long k = i * i; k < n; k += i)
			composite[k] = true;
	}
	std::cout << primes.size() << " primes below " << n << ", the last is " << primes.back() << '\n';
}
