#include "storage/boot_id.h"

#include <stdio.h>
#include <string.h>

void boot_id_read (char id[BOOT_ID_MAX])
{
    id[0] = 0;
    FILE *file = fopen ("/proc/sys/kernel/random/boot_id", "re");
    if (!file)
        return;
    if (!fgets (id, BOOT_ID_MAX, file))
        id[0] = 0;
    id[strcspn (id, "\n")] = 0;
    fclose (file);
}
