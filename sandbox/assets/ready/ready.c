/* The built-in static program: a daemon is ready once this has run in a sandbox. It shows that a program of a few
 * pages, without a C library's start-up beyond the static one, fits the smallest memory limit. */
#include <unistd.h>

int main(void)
{
	static const char line[] = "ready\n";

	return write(STDOUT_FILENO, line, sizeof line - 1) == (ssize_t)(sizeof line - 1) ? 0 : 1;
}
