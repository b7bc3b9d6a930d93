/*  boot_id - which boot of the machine this is

    What was written since the same boot has not been cut short by a loss of power. */
#pragma once

enum { BOOT_ID_MAX = 64 };

/*  Its name, a random one (/proc/sys/kernel/random/boot_id); "": it can't be told. */
void boot_id_read (char id[BOOT_ID_MAX]);
