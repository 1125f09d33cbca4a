#include <stdio.h>
#include <stdlib.h>

/* Reads N and prints how many primes lie below it, and the greatest of them. */
int main(void)
{
	long n, count = 0, last = 0;

	if (scanf("%ld", &n) != 1 || n < 2)
		return 1;
	char *composite = calloc(n, 1);
	if (!composite)
		return 1;
	for (long i = 2; i < n; i++) {
		if (composite[i])
			continue;
		count++;
		last = i;
		for (long k = i * i; k < n; k += i)
			composite[k] = 1;
	}
	free(composite);
	printf("%ld primes below %ld, the last is %ld\n", count, n, last);
	return 0;
}
