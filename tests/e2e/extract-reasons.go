// Lists every reason that Kubernetes' own programs can give an Event, from their source.
//
//	go run tests/e2e/extract-reasons.go MODULES v1.35.4 > recorder/ingest/tests/data/kubernetes-reasons.txt
//
// MODULES is the folder that holds kubernetes@v1.35.4 and its sister modules (`go env GOMODCACHE`/k8s.io after
// `go mod download k8s.io/kubernetes@v1.35.4` and the modules it replaces).
//
// It finds each call with an event type and reads the next argument: a literal, a constant, or a variable or parameter
// whose values it follows. It cannot follow a reason that is built at run time; each such place must have an entry in
// `builtAtRunTime`, otherwise the program fails, so that a new one in a later Kubernetes version is noticed.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// The source directories, and the reporting component if the source does not name one.
var modules = []struct{ module, folder, program string }{
	{"kubernetes", "pkg/kubelet", "kubelet"},
	{"kubernetes", "pkg/volume", "kubelet"},
	{"kubernetes", "pkg/scheduler", "default-scheduler"},
	{"kubernetes", "pkg/controller", "kube-controller-manager"},
	{"kubernetes", "pkg/proxy", "kube-proxy"},
	{"kubernetes", "cmd", "kube-proxy"},
	{"kubernetes", "pkg/controlplane", "kube-apiserver"},
	{"kubernetes", "pkg/registry", "kube-apiserver"},
	{"kubernetes", "plugin", "kube-apiserver"},
	{"kubernetes", "pkg/apis", ""}, // constants only
	{"kubernetes", "pkg/util", ""},
	{"cloud-provider", ".", "cloud-controller-manager"},
	{"endpointslice", ".", "endpoint-slice-controller"},
	{"apiserver", "pkg", "kube-apiserver"},
	{"client-go", "tools", "leader-election"},
	{"api", ".", ""},
}

// Reasons that are computed, by the file in which the Event is sent; read there when Kubernetes changes.
var builtAtRunTime = map[string][]string{
	// "OutOf" + the resource that does not fit, for the resources every node has.
	// And the scheduler plugin that refuses the Pod.
	"pkg/kubelet/lifecycle/predicate.go": {
		"OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage",
		"NodeAffinity", "NodeName", "NodePorts", "TaintToleration",
	},
	// Type() of each admission error of the resource managers.
	"pkg/kubelet/cm/admission/errors.go": {"UnexpectedAdmissionError", "TopologyAffinityError", "SMTAlignmentError"},
	// The reason that the signer wrote, and these types of condition.
	"pkg/kubelet/podcertificate/podcertificatemanager.go": {"Denied", "Failed"},
	// "Failed" or "Successful" and the verb.
	"pkg/controller/statefulset/stateful_pod_control.go": {
		"FailedCreate", "FailedUpdate", "FailedDelete", "FailedRecreate",
		"SuccessfulCreate", "SuccessfulUpdate", "SuccessfulDelete", "SuccessfulRecreate",
	},
	// The reason of the condition with which the Job ends.
	"pkg/controller/job/job_controller.go": {
		"BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded", "PodFailurePolicy",
		"SuccessPolicy", "CompletionsReached",
	},
	// The structs that carry these are followed where they are made.
	"pkg/controller/volume/selinuxwarning/selinux_warning_controller.go": {},
	// An error's text in place of a reason: unbounded, shown as any unknown reason is.
	"cmd/kube-proxy/app/server_linux.go":                                               {},
	"pkg/kubelet/images/image_gc_manager.go":                                           {},
	"pkg/controlplane/controller/defaultservicecidr/default_servicecidr_controller.go": {},
}

type pkgFile struct {
	pkg, path string // import path; path within the module
	program   string
	file      *ast.File
	imports   map[string]string
}

var (
	fset      = token.NewFileSet()
	files     []*pkgFile
	constants = map[string]map[string]ast.Expr{} // package, name
	constFile = map[ast.Expr]*pkgFile{}
	component = map[string]string{} // folder -> EventSource.Component
	found     = map[[2]string]bool{}
	missing   []string
	version   string
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: extract-reasons MODULES VERSION")
		os.Exit(2)
	}
	version = os.Args[2]
	for _, source := range modules {
		// The sister modules of v1.X.Y are v0.X.Y.
		release := "v0" + strings.TrimPrefix(version, "v1")
		if source.module == "kubernetes" {
			release = version
		}
		load(filepath.Join(os.Args[1], source.module+"@"+release), source.module, source.folder, source.program)
	}
	for _, f := range files {
		collectConstants(f)
	}
	for _, f := range files {
		if f.program != "" {
			collectEvents(f)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintln(os.Stderr, "reasons built at run time without an entry in builtAtRunTime:")
		for _, m := range missing {
			fmt.Fprintln(os.Stderr, " ", m)
		}
		os.Exit(1)
	}
	var lines []string
	for key := range found {
		lines = append(lines, key[0]+"\t"+key[1])
	}
	sort.Strings(lines)
	fmt.Printf("# Reasons of Events in the source of Kubernetes %s: component, tab, reason.\n", version)
	fmt.Println("# Made by tests/e2e/extract-reasons.go; do not edit.")
	fmt.Println(strings.Join(lines, "\n"))
}

func load(root, module, folder, program string) {
	err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if name == "testing" || name == "testdata" || name == "testutil" || name == "fake" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		parsed, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		relative, _ := filepath.Rel(root, path)
		f := &pkgFile{
			pkg: filepath.Join("k8s.io", module, filepath.Dir(relative)), path: relative, program: program,
			file: parsed, imports: map[string]string{},
		}
		for _, spec := range parsed.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			alias := filepath.Base(target)
			if spec.Name != nil {
				alias = spec.Name.Name
			}
			f.imports[alias] = target
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func collectConstants(f *pkgFile) {
	for _, declaration := range f.file.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			values, ok := spec.(*ast.ValueSpec)
			if !ok || len(values.Names) != len(values.Values) {
				continue
			}
			for i, name := range values.Names {
				if constants[f.pkg] == nil {
					constants[f.pkg] = map[string]ast.Expr{}
				}
				constants[f.pkg][name.Name] = values.Values[i]
				constFile[values.Values[i]] = f
			}
		}
	}
	ast.Inspect(f.file, func(node ast.Node) bool {
		literal, ok := node.(*ast.CompositeLit)
		if !ok {
			return true
		}
		if selector, ok := literal.Type.(*ast.SelectorExpr); ok && selector.Sel.Name == "EventSource" {
			for _, element := range literal.Elts {
				if pair, ok := element.(*ast.KeyValueExpr); ok && fmt.Sprint(pair.Key) == "Component" {
					if names := resolve(f, nil, pair.Value, 0); len(names) == 1 {
						component[filepath.Dir(f.path)] = names[0]
					}
				}
			}
		}
		return true
	})
}

func collectEvents(f *pkgFile) {
	for _, declaration := range f.file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || function.Body == nil {
			continue
		}
		ast.Inspect(function.Body, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				sends := called(node) == "Event" || called(node) == "Eventf" || called(node) == "AnnotatedEventf"
				for i := 0; i+1 < len(node.Args); i++ {
					if isEventType(node.Args[i]) {
						add(f, function, node.Args[i+1])
					} else if sends && isVariableType(node.Args[i]) {
						// A wrapper that passes its reason on too is covered by its callers.
						for _, name := range resolve(f, nil, node.Args[i+1], 0) {
							found[[2]string{reporter(f), name}] = true
						}
					}
				}
			case *ast.CompositeLit:
				addFromFields(f, function, node)
			}
			return true
		})
	}
}

// Events that are put together in a struct first: endpointslice's ServicePortEvent, selinux warnings and such.
func addFromFields(f *pkgFile, function *ast.FuncDecl, literal *ast.CompositeLit) {
	var reason ast.Expr
	// Why the kubelet does not admit a Pod becomes the reason of an Event.
	event := strings.HasSuffix(typeName(literal.Type), "PodAdmitResult")
	for _, element := range literal.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch fmt.Sprint(pair.Key) {
		case "EventReason":
			reason, event = pair.Value, true
		case "Reason":
			reason = pair.Value
		case "EventType":
			event = true
		}
	}
	if event && reason != nil {
		add(f, function, reason)
	}
}

func typeName(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func isEventType(expression ast.Expr) bool {
	selector, ok := expression.(*ast.SelectorExpr)
	return ok && (selector.Sel.Name == "EventTypeNormal" || selector.Sel.Name == "EventTypeWarning")
}

func isVariableType(expression ast.Expr) bool {
	variable, ok := expression.(*ast.Ident)
	return ok && strings.EqualFold(variable.Name, "eventType")
}

func reporter(f *pkgFile) string {
	for folder := filepath.Dir(f.path); folder != "." && folder != "/"; folder = filepath.Dir(folder) {
		if name, ok := component[folder]; ok {
			return name
		}
	}
	return f.program
}

func add(f *pkgFile, function *ast.FuncDecl, reason ast.Expr) {
	names := resolve(f, function, reason, 0)
	known, ok := builtAtRunTime[f.path]
	for _, name := range known {
		found[[2]string{reporter(f), name}] = true
	}
	for _, name := range names {
		if name != "" && !strings.Contains(name, " ") {
			found[[2]string{reporter(f), name}] = true
		}
	}
	if len(names) == 0 && !ok {
		missing = append(missing, fset.Position(reason.Pos()).String())
	}
}

// resolve follows an expression to the texts it can stand for; none if it cannot be followed.
func resolve(f *pkgFile, function *ast.FuncDecl, expression ast.Expr, depth int) []string {
	if depth > 6 {
		return nil
	}
	switch e := expression.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return []string{text}
		}
	case *ast.ParenExpr:
		return resolve(f, function, e.X, depth+1)
	case *ast.CallExpr:
		if name, ok := e.Fun.(*ast.Ident); ok && name.Name == "string" && len(e.Args) == 1 {
			return resolve(f, function, e.Args[0], depth+1)
		}
		return results(f, e, 0, depth)
	case *ast.SelectorExpr:
		if alias, ok := e.X.(*ast.Ident); ok {
			if target, ok := f.imports[alias.Name]; ok {
				return constant(target, e.Sel.Name, depth)
			}
		}
		if e.Sel.Name == "Reason" || e.Sel.Name == "EventReason" {
			return fields(f, e.Sel.Name, depth)
		}
	case *ast.Ident:
		// A variable or parameter first: it may hide a constant of the package.
		if function != nil {
			names := append(assigned(f, function, e.Name, depth), passed(f, function, e.Name, depth)...)
			if len(names) > 0 {
				return names
			}
		}
		return constant(f.pkg, e.Name, depth)
	}
	return nil
}

func constant(pkg, name string, depth int) []string {
	if value, ok := constants[pkg][name]; ok {
		return resolve(constFile[value], nil, value, depth+1)
	}
	return nil
}

// Values that a local variable is given.
func assigned(f *pkgFile, function *ast.FuncDecl, name string, depth int) (names []string) {
	ast.Inspect(function.Body, func(node ast.Node) bool {
		statement, ok := node.(*ast.AssignStmt)
		if !ok {
			return true
		}
		for i, left := range statement.Lhs {
			ident, ok := left.(*ast.Ident)
			if !ok || ident.Name != name {
				continue
			}
			if len(statement.Rhs) == len(statement.Lhs) {
				names = append(names, resolve(f, function, statement.Rhs[i], depth+1)...)
			} else if call, ok := statement.Rhs[0].(*ast.CallExpr); ok {
				names = append(names, results(f, call, i, depth)...)
			}
		}
		return true
	})
	return names
}

// Values that callers pass for a parameter: those of the package, or of all if the function is exported.
func passed(f *pkgFile, function *ast.FuncDecl, name string, depth int) (names []string) {
	index, at := -1, 0
	for _, field := range function.Type.Params.List {
		for _, parameter := range field.Names {
			if parameter.Name == name {
				index = at
			}
			at++
		}
	}
	if index < 0 {
		return nil
	}
	pkg := f.pkg
	if function.Name.IsExported() {
		pkg = ""
	}
	eachFunction(pkg, func(other *pkgFile, caller *ast.FuncDecl) {
		ast.Inspect(caller.Body, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if ok && called(call) == function.Name.Name && index < len(call.Args) {
				names = append(names, resolve(other, caller, call.Args[index], depth+1)...)
			}
			return true
		})
	})
	return names
}

// Values that a function of the same package returns at a position.
func results(f *pkgFile, call *ast.CallExpr, index, depth int) (names []string) {
	eachFunction(f.pkg, func(other *pkgFile, callee *ast.FuncDecl) {
		if callee.Name.Name != called(call) {
			return
		}
		ast.Inspect(callee.Body, func(node ast.Node) bool {
			if _, ok := node.(*ast.FuncLit); ok {
				return false
			}
			statement, ok := node.(*ast.ReturnStmt)
			if ok && index < len(statement.Results) {
				names = append(names, resolve(other, callee, statement.Results[index], depth+1)...)
			}
			return true
		})
	})
	return names
}

// Values that a field of this name is given anywhere in the package.
func fields(f *pkgFile, name string, depth int) (names []string) {
	eachFunction(f.pkg, func(other *pkgFile, function *ast.FuncDecl) {
		ast.Inspect(function.Body, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.KeyValueExpr:
				if fmt.Sprint(node.Key) == name {
					names = append(names, resolve(other, function, node.Value, depth+1)...)
				}
			case *ast.AssignStmt:
				for i, left := range node.Lhs {
					selector, ok := left.(*ast.SelectorExpr)
					if ok && selector.Sel.Name == name && len(node.Lhs) == len(node.Rhs) {
						names = append(names, resolve(other, function, node.Rhs[i], depth+1)...)
					}
				}
			}
			return true
		})
	})
	return names
}

// Visits the functions of a package, or of all packages for "".
func eachFunction(pkg string, visit func(*pkgFile, *ast.FuncDecl)) {
	for _, f := range files {
		if pkg != "" && f.pkg != pkg {
			continue
		}
		for _, declaration := range f.file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil {
				visit(f, function)
			}
		}
	}
}

func called(call *ast.CallExpr) string {
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		return function.Sel.Name
	}
	return ""
}
