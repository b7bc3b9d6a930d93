/*  getpid for the nexus command: asks the kernel once a process instead of each time.

    libzmq 4.3 calls it before it writes to or waits at one of its eventfds, to notice a fork: 60
    times for one write of a client to three masters, which makes 6 % of what such a write costs
    them. libzmq finds this one, as a program's symbols come before a library's, if it is exported
    (tests/unit/process_id_test.sh). A child of fork
    (2) asks anew; the command makes none in another way that would go on to run our code. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Atomic pid_t known; /* 0: ask */

static void forget (void)
{
    atomic_store_explicit (&known, 0, memory_order_relaxed);
}

/*  Before main: a fork must not come first. */
__attribute__ ((constructor)) static void forget_in_children (void)
{
    if (pthread_atfork (NULL, NULL, forget) != 0)
        _exit (71); /* EX_OSERR: no memory for three pointers */
}

__attribute__ ((visibility ("default"))) pid_t getpid (void)
{
    pid_t pid = atomic_load_explicit (&known, memory_order_relaxed);
    if (pid == 0) {
        pid = (pid_t)syscall (SYS_getpid);
        atomic_store_explicit (&known, pid, memory_order_relaxed);
    }
    return pid;
}
