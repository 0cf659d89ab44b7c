/* Choice of the vector width. Included after the table WIDTHS, which begins with the widest; each entry has a name. */

static int chosen = (int)(sizeof WIDTHS / sizeof *WIDTHS) - 1; /* portable, until the module has detected the processor */

static int supported(const char *name)
{
#if defined(__x86_64__)
    if (!strcmp(name, "avx512f"))
        return __builtin_cpu_supports("avx512f");
    if (!strcmp(name, "avx2"))
        return __builtin_cpu_supports("avx2");
#endif
    return !strcmp(name, "portable");
}

/* Choose the widest one that this processor supports. */
static void detect_width(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    for (chosen = 0; !supported(WIDTHS[chosen].name); chosen++)
        ;
}

static PyObject *choose(PyObject *module, PyObject *name)
{
    const char *wanted = PyUnicode_AsUTF8(name);
    (void)module;
    if (!wanted)
        return NULL;
    for (size_t i = 0; i < sizeof WIDTHS / sizeof *WIDTHS; i++)
        if (!strcmp(WIDTHS[i].name, wanted) && supported(wanted)) {
            chosen = (int)i;
            Py_RETURN_NONE;
        }
    PyErr_Format(PyExc_ValueError, "this processor has no '%s'", wanted);
    return NULL;
}

static PyObject *widths(PyObject *module, PyObject *unused)
{
    PyObject *names = PyList_New(0);
    (void)module;
    (void)unused;
    for (size_t i = 0; names && i < sizeof WIDTHS / sizeof *WIDTHS; i++) {
        if (!supported(WIDTHS[i].name))
            continue;
        PyObject *name = PyUnicode_FromString(WIDTHS[i].name);
        if (!name || PyList_Append(names, name))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

#define WIDTH_METHODS                                                                                                  \
    {"widths", widths, METH_NOARGS, "widths()\n--\n\nWhat this processor can use, widest first."},                     \
    {"choose", choose, METH_O, "choose(name)\n--\n\nUse one of `widths()`; for tests."}
