"""A peer of `fltac bench kmeans`: K-means by another library, on the same data and with the same settings.

usage: kmeans_peer.py '{"side": "sklearn", "threads": 2, "device": "cpu", "tol": 1e-4}'

Started by src/bench/kmeans-side.ts, which says what crosses: one line of JSON to say who answers or why nobody can, then an
answer to each line of standard input. The clock runs around a whole K-means call on data that lie in main memory.
"""
import json, os, sys, time

import numpy as np

SETTINGS = json.loads(sys.argv[1])
# Libraries print what they like; answers go to what was standard output.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def memory(field):
    """A line of /proc/self/status in bytes; elsewhere the most that the process ever held."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith(field + ":"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Absent(Exception):
    """Why this peer cannot take part."""


class Sklearn:
    procedure = "KMeans, algorithm lloyd, as it comes"

    def __init__(self):
        import sklearn
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_info

        self.KMeans = KMeans
        blas = {f"{p['internal_api']} {p['version']} {p.get('architecture')}" for p in threadpool_info() if p["user_api"] == "blas"}
        self.version = ", ".join([f"scikit-learn {sklearn.__version__}", f"numpy {np.__version__}", *sorted(blas)])

    def fit(self, x, k, n_init, max_iter, seed):
        model = self.KMeans(n_clusters=k, n_init=n_init, max_iter=max_iter, tol=SETTINGS["tol"], random_state=seed).fit(x)
        return model.labels_, model.n_iter_


class Faiss:
    procedure = "Kmeans, no sampling of points, niter at most 25 (its default: it stops by nothing else), then a search for labels"

    def __init__(self):
        import faiss

        self.faiss = faiss
        faiss.omp_set_num_threads(SETTINGS["threads"])
        self.version = f"faiss {faiss.__version__}"
        if SETTINGS["device"] == "cuda" and not faiss.get_num_gpus():
            raise Absent("this faiss sees no GPU")

    def fit(self, x, k, n_init, max_iter, seed):
        niter = min(25, max_iter)
        model = self.faiss.Kmeans(
            x.shape[1], k, niter=niter, nredo=n_init, seed=seed, gpu=SETTINGS["device"] == "cuda",
            max_points_per_centroid=len(x), min_points_per_centroid=1)
        model.train(x)
        return model.index.search(x, 1)[1][:, 0], niter


class Torch:
    procedure = "k-means++ and Lloyd by cdist, argmin and index_add"

    def __init__(self):
        import torch

        self.torch = torch
        torch.set_num_threads(SETTINGS["threads"])
        self.version = f"torch {torch.__version__}"
        if SETTINGS["device"] == "cuda" and not torch.cuda.is_available():
            raise Absent("this torch sees no GPU")

    def fit(self, x, k, n_init, max_iter, seed):
        torch = self.torch
        points = torch.from_numpy(x).to(SETTINGS["device"])
        random = torch.Generator(points.device).manual_seed(seed)
        tolerance = SETTINGS["tol"] * points.var(dim=0, correction=0).mean()
        best = min((self.start(points, k, max_iter, tolerance, random) for _ in range(n_init)), key=lambda start: start[0])
        return best[1].cpu().numpy(), best[2]

    def seeds(self, points, k, random):
        torch = self.torch
        chosen = torch.randint(len(points), (1,), generator=random, device=points.device)
        nearest = torch.cdist(points, points[chosen]).squeeze(1).square()
        for _ in range(1, k):
            # torch.multinomial takes 2^24 weights at most; the running sum takes any number.
            sums = nearest.double().cumsum(0)
            target = torch.rand(1, generator=random, device=points.device, dtype=torch.float64) * sums[-1]
            one = torch.searchsorted(sums, target).clamp_(max=len(points) - 1)
            chosen = torch.cat([chosen, one])
            nearest = torch.minimum(nearest, torch.cdist(points, points[one]).squeeze(1).square())
        return points[chosen]

    def start(self, points, k, max_iter, tolerance, random):
        torch = self.torch
        centroids = self.seeds(points, k, random)
        one = torch.ones(len(points), device=points.device)
        for iteration in range(1, max_iter + 1):
            labels = torch.cdist(points, centroids).argmin(1)
            counts = torch.zeros(k, device=points.device).index_add_(0, labels, one)
            sums = torch.zeros_like(centroids).index_add_(0, labels, points)
            moved = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centroids)
            shift = (moved - centroids).square().sum()
            centroids = moved
            if shift <= tolerance:
                break
        distance, labels = torch.cdist(points, centroids).min(1)
        return distance.square().sum().item(), labels, iteration


class FlashKmeans(Torch):
    procedure = "batch_kmeans_Euclid in float32 from random rows (it has no k-means++), tol on the largest move of a centroid"

    def __init__(self):
        if SETTINGS["device"] != "cuda":
            raise Absent("it needs CUDA: pass --device cuda on a machine with a GPU")
        super().__init__()
        from importlib.metadata import version

        import flash_kmeans

        self.cluster = flash_kmeans.batch_kmeans_Euclid
        self.version = f"flash-kmeans {version('flash-kmeans')}, {self.version}"

    def fit_batch(self, x, k, n_init, max_iter, seed):
        torch = self.torch
        torch.manual_seed(seed)
        points = torch.from_numpy(x).cuda()
        tol = (SETTINGS["tol"] * points.var(dim=1, correction=0).mean()).sqrt().item()
        best = None
        for _ in range(n_init):
            labels, centroids, iterations = self.cluster(points, k, max_iters=max_iter, tol=tol)
            inertia = (points - centroids.gather(1, labels.long()[..., None].expand_as(points))).square().sum((1, 2))
            if best is None:
                best = (inertia, labels, iterations)
            better = inertia < best[0]
            best = (torch.minimum(inertia, best[0]), torch.where(better[:, None], labels, best[1]), iterations)
        return best[1].cpu().numpy(), best[2]


PEERS = {
    "sklearn": (Sklearn, "scikit-learn"),
    "faiss": (Faiss, "faiss-cpu"),
    "torch": (Torch, "torch"),
    "flash-kmeans": (FlashKmeans, "flash-kmeans"),
}


def answer(reply):
    ANSWERS.write(json.dumps(reply) + "\n")
    ANSWERS.flush()


def greet():
    peer, package = PEERS[SETTINGS["side"]]
    try:
        side = peer()
    except ImportError as error:
        raise Absent(f"{sys.executable.split('/')[-1]} cannot import it ({error}): pip install {package}") from error
    gpu = side.torch.cuda.get_device_name() if SETTINGS["device"] == "cuda" and hasattr(side, "torch") else None
    answer({"version": side.version, "procedure": side.procedure, "gpu": gpu})
    return side


class Peer:
    def __init__(self, side):
        self.side = side

    def load(self, file, shape):
        base = memory("VmRSS")
        self.shape = shape
        self.data = np.fromfile(file, np.float32).reshape(shape["batch"], shape["rows"], shape["columns"])
        return {"baseBytes": base}

    def run(self, nInit, seed, labels):
        k, max_iter = self.shape["k"], self.shape["maxIter"]
        began = time.perf_counter()
        if hasattr(self.side, "fit_batch"):
            found, iterations = self.side.fit_batch(self.data, k, nInit, max_iter, seed)
        else:
            fits = [self.side.fit(x, k, nInit, max_iter, seed) for x in self.data]
            found, iterations = np.stack([fit[0] for fit in fits]), fits[0][1]
        seconds = time.perf_counter() - began
        if labels is not None:
            np.ascontiguousarray(found, np.int32).tofile(labels)
        return {"seconds": seconds, "iterations": iterations, "path": None, "gram": None, "bytesRead": None, "peakBytes": memory("VmHWM")}


def main():
    try:
        peer = Peer(greet())
    except Absent as why:
        return answer({"absent": str(why)})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer(getattr(peer, request.pop("op"))(**request))
        except Exception as error:
            answer({"failed": f"{type(error).__name__}: {error}"})


main()
