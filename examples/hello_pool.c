/* SPDX-License-Identifier: MIT */
#include <kin/kin.h>
#include <stdio.h>

static int square(struct kin_task *task) /* runs in a worker process */
{
    const int *n = kin_task_arg(task);
    int n2 = *n * *n;
    return kin_task_return(task, &n2, sizeof n2);
}

int main(void)
{
    int in[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, out[10];
    struct kin_arena *arena = NULL;
    struct kin_pool *pool = NULL;
    int r = kin_arena_create(NULL, &arena);
    if (r == 0)
        r = kin_pool_create(arena, NULL, &pool); /* as many workers as cores */
    if (r == 0)
        r = kin_pool_map(pool, square, KIN_ITEMS(in), KIN_ITEMS(out), KIN_NEVER);
    for (int i = 0; r == 0 && i < 10; i++)
        printf("%d squared is %d\n", in[i], out[i]);
    if (r < 0)
        fprintf(stderr, "%s: %s\n", kin_strerror(r), kin_error_text());
    kin_pool_destroy(pool);
    kin_arena_detach(arena);
    return r < 0;
}
